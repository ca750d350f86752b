import { vitePreprocess } from '@sveltejs/vite-plugin-svelte';

// the mark of a component's styles stands in every one of its elements: four letters tell a hundred of them apart
const cssHash = ({ hash, filename }) => `s${hash(filename).slice(0, 4)}`;

export default { preprocess: vitePreprocess(), compilerOptions: { cssHash } };
