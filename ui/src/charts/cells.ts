/** A cell of a grid of columns and lines, and where a key leads from it. */

export interface CellPlace {
  column: number;
  line: number;
}

/** The cell that a key leads to, inside the grid; null for any other key. */
export function movedCell(event: Pick<KeyboardEvent, 'key' | 'ctrlKey'>, from: CellPlace, columns: number, lines: number): CellPlace | null {
  const [lastColumn, lastLine] = [columns - 1, lines - 1];
  const moves: Record<string, CellPlace> = {
    ArrowLeft: { ...from, column: from.column - 1 },
    ArrowRight: { ...from, column: from.column + 1 },
    ArrowUp: { ...from, line: from.line - 1 },
    ArrowDown: { ...from, line: from.line + 1 },
    Home: { column: 0, line: event.ctrlKey ? 0 : from.line },
    End: { column: lastColumn, line: event.ctrlKey ? lastLine : from.line },
    PageUp: { ...from, line: 0 },
    PageDown: { ...from, line: lastLine },
  };
  const to = moves[event.key];
  return to ? { column: Math.max(0, Math.min(lastColumn, to.column)), line: Math.max(0, Math.min(lastLine, to.line)) } : null;
}
