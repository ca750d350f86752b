/** Settings of several runs side by side: one row per setting, by its path. */

export interface ConfigRow {
  path: string;
  /** One text per run; null where it has no such setting. */
  values: (string | null)[];
  differs: boolean;
}

/** JSON text as `path -> text`; a text that is no JSON object is one value without a path. */
export function flattened(config: string | null): Map<string, string> {
  const found = new Map<string, string>();
  if (config === null) return found;
  let tree: unknown;
  try {
    tree = JSON.parse(config);
  } catch {
    tree = config;
  }
  walk(tree, '', found);
  return found;
}

/** Rows sorted by path; what differs first needs a look first. */
export function configRows(configs: (string | null)[]): ConfigRow[] {
  const flat = configs.map(flattened);
  const paths = [...new Set(flat.flatMap((each) => [...each.keys()]))].sort((a, b) => a.localeCompare(b, 'en', { numeric: true }));
  return paths.map((path) => {
    const values = flat.map((each) => each.get(path) ?? null);
    return { path, values, differs: new Set(values).size > 1 };
  });
}

function walk(value: unknown, path: string, found: Map<string, string>): void {
  if (typeof value === 'object' && value !== null && Object.keys(value).length > 0) {
    const list = Array.isArray(value);
    if (list && value.every((each) => typeof each !== 'object' || each === null)) {
      found.set(path, JSON.stringify(value)); // a list of plain values reads better as one
      return;
    }
    for (const [key, each] of Object.entries(value)) walk(each, path ? `${path}.${key}` : key, found);
    return;
  }
  found.set(path || '(config)', typeof value === 'string' ? value : JSON.stringify(value));
}
