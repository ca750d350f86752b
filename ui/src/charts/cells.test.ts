import assert from 'node:assert/strict';
import { test } from 'node:test';
import { movedCell } from './cells.ts';

const key = (name: string, ctrlKey = false) => ({ key: name, ctrlKey });

test('no key leads out of the grid', () => {
  for (const name of ['ArrowLeft', 'ArrowRight', 'ArrowUp', 'ArrowDown', 'Home', 'End', 'PageUp', 'PageDown']) {
    for (const from of [{ column: 0, line: 0 }, { column: 4, line: 2 }]) {
      const to = movedCell(key(name), from, 5, 3);
      assert.ok(to && to.column >= 0 && to.column < 5 && to.line >= 0 && to.line < 3, name);
    }
  }
});

test('keys go by one, to the ends, and with Ctrl to the corners', () => {
  const from = { column: 2, line: 1 };
  assert.deepEqual(movedCell(key('ArrowRight'), from, 5, 3), { column: 3, line: 1 });
  assert.deepEqual(movedCell(key('ArrowUp'), from, 5, 3), { column: 2, line: 0 });
  assert.deepEqual(movedCell(key('End'), from, 5, 3), { column: 4, line: 1 });
  assert.deepEqual(movedCell(key('End', true), from, 5, 3), { column: 4, line: 2 });
  assert.deepEqual(movedCell(key('Home', true), from, 5, 3), { column: 0, line: 0 });
  assert.deepEqual(movedCell(key('PageDown'), from, 5, 3), { column: 2, line: 2 });
  assert.equal(movedCell(key('Enter'), from, 5, 3), null);
});
