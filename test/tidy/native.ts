// The rule about lengths of C files, functions and lines; oxlint and the formatter see TypeScript only.
import { type Finding, type Rule, isNative } from './repository.ts';

const FILE_LINES_MAX = 400;
const FUNCTION_LINES_MAX = 70;
const COLUMNS_MAX = 110;

export const nativeLengthsRule: Rule = (files) =>
  files.filter(isNative).flatMap(({ path, text }): Finding[] => {
    const lines = text.replace(/\n$/, '').split('\n');
    return [...longFile(path, lines), ...longFunctions(path, lines), ...longLines(path, lines)];
  });

function longFile(path: string, lines: readonly string[]): Finding[] {
  if (lines.length <= FILE_LINES_MAX) return [];
  const sentence = `${lines.length} lines, ${FILE_LINES_MAX} at most: split it at its second noun.`;
  return [{ path, line: lines.length, sentence }];
}

function longLines(path: string, lines: readonly string[]): Finding[] {
  return lines.flatMap((line, at) => {
    const columns = Array.from(line).length;
    if (columns <= COLUMNS_MAX) return [];
    const sentence = `${columns} columns, ${COLUMNS_MAX} at most: break the line.`;
    return [{ path, line: at + 1, sentence }];
  });
}

function longFunctions(path: string, lines: readonly string[]): Finding[] {
  return functionsOf(lines).flatMap(({ name, first, last }) => {
    const length = last - first + 1;
    if (length <= FUNCTION_LINES_MAX) return [];
    const sentence = `${name} has ${length} lines, ${FUNCTION_LINES_MAX} at most: name one of its steps.`;
    return [{ path, line: first, sentence }];
  });
}

/** `first` and `last` are line numbers from 1. */
type Span = { name: string; first: number; last: number };

/** Functions as this project writes them: the head starts in the first column, and so does the last brace. */
function functionsOf(lines: readonly string[]): Span[] {
  const spans: Span[] = [];
  let open: { name: string; first: number } | null = null;
  for (const [at, line] of lines.entries()) {
    const head = /^[A-Za-z_][A-Za-z0-9_ *]*?\b([A-Za-z_][A-Za-z0-9_]*)\(/.exec(line);
    if (head !== null) open = { name: head[1] ?? '', first: at + 1 };
    const isDeclaration = /^[^\s}].*;\s*$/.test(line);
    if (isDeclaration) open = null;
    if (line.startsWith('}') && open !== null) {
      spans.push({ ...open, last: at + 1 });
      open = null;
    }
  }
  return spans;
}
