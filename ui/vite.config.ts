import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig } from 'vite';

// light-dark() and :has() are native in these; older targets would get a costly imitation of the first.
const browsers = ['chrome123', 'firefox121', 'safari17.5'];

export default defineConfig({
  base: './', // works behind any path prefix of a reverse proxy
  plugins: [svelte()],
  build: {
    target: browsers,
    assetsInlineLimit: 0, // the content security policy allows files of ours, not data: scripts
    modulePreload: { polyfill: false },
    sourcemap: false,
  },
  server: { proxy: { '/api': 'http://127.0.0.1:8080' } },
});
