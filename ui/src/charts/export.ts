/** The address of all points of a series, as a file. */
export function exportAddress(run: string, name: string): string {
  return `api/export?${new URLSearchParams({ run, name, format: 'csv' })}`;
}
