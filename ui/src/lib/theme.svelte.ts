/** Dark or light: the system's choice unless overridden here. Canvases redraw when `version` moves. */
export type Theme = 'system' | 'light' | 'dark';

const KEY = 'barograph-theme';
const ORDER: readonly Theme[] = ['system', 'light', 'dark'];

class Appearance {
  choice = $state<Theme>('system');
  version = $state(0);

  constructor() {
    const kept = this.#kept();
    if (kept) this.#show(kept);
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => (this.version += 1));
  }

  next(): Theme {
    return ORDER[(ORDER.indexOf(this.choice) + 1) % ORDER.length] ?? 'system';
  }

  choose(theme: Theme): void {
    this.#show(theme);
    try {
      localStorage.setItem(KEY, theme);
    } catch {
      // storage may be forbidden: the choice then lasts as long as the page
    }
  }

  #show(theme: Theme): void {
    this.choice = theme;
    if (theme === 'system') delete document.documentElement.dataset['theme'];
    else document.documentElement.dataset['theme'] = theme;
    this.version += 1;
  }

  #kept(): Theme | undefined {
    try {
      return ORDER.find((theme) => theme === localStorage.getItem(KEY));
    } catch {
      return undefined;
    }
  }
}

export const appearance = new Appearance();
