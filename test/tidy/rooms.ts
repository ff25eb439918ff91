// Rules about rooms, the folders of a floor: their doors, their guides, their size, and who imports whom.
import { basename, dirname } from 'node:path';
import { importsOf, targetOf } from './modules.ts';
import { type Finding, type Rule, type SourceFile, isProduct } from './repository.ts';
import type { Scan } from './tokens.ts';

const FOLDER_FILES_MAX = 12;
const GUIDE_CHARACTERS_MAX = 800;
const ARROWS_MAX = 15;
const FLOORS_WITH_ARROWS_COUNTED = ['src/edge', 'src/engine'];

/** `doors` are the paths that may be imported from outside; null where the room has none yet. */
type Room = { path: string; doors: ReadonlySet<string> | null };

/** Files outside a room import its doors only; the rooms around a file count as its own. */
export function doorsRule(scan: Scan): Rule {
  return (files) => {
    const rooms = roomsOf(files);
    return files.filter(isProduct).flatMap((file) =>
      importsOf(scan(file)).flatMap(({ specifier, line }): Finding[] => {
        const target = targetOf(file, specifier);
        if (target === null) return [];
        const room = entered(rooms, file.path, target);
        const doors = room?.doors ?? null;
        if (room === null || doors === null || doors.has(target)) return [];
        const names = [...doors].map((door) => basename(door)).join(' or ');
        const sentence = `${target} is inside the room ${room.path}/: import ${names}, or make it a door.`;
        return [{ path: file.path, line, sentence }];
      }),
    );
  };
}

/** The outermost room that an import enters; null where it stays inside or names no room. */
function entered(rooms: ReadonlyMap<string, Room>, from: string, target: string): Room | null {
  const folder = foldersOf(target).find((one) => !from.startsWith(`${one}/`));
  return folder === undefined ? null : (rooms.get(folder) ?? null);
}

/** The folders with TypeScript below a floor, by path. */
function roomsOf(files: readonly SourceFile[]): Map<string, Room> {
  const guides = new Map(files.map(({ path, text }) => [path, text]));
  const sources = files.filter(isProduct).map(({ path }) => path);
  const folders = new Set(sources.flatMap(foldersOf));
  return new Map(
    Array.from(folders, (path) => {
      const own = sources.filter((one) => dirname(one) === path);
      return [path, { path, doors: doorsOf(path, own, guides.get(`${path}/README.md`) ?? '') }];
    }),
  );
}

const GUIDE_START = /^Doors?: (every file|`\w+\.ts`(?:, `\w+\.ts`)*)\.(?= |$)/;

/** What the first line of the guide names, else the file that is named after the room. */
function doorsOf(path: string, own: readonly string[], guide: string): ReadonlySet<string> | null {
  const named = GUIDE_START.exec(firstLine(guide))?.[1];
  if (named === 'every file') return new Set(own);
  if (named !== undefined) return new Set(named.split(', ').map((name) => `${path}/${name.slice(1, -1)}`));
  const namesake = `${path}/${basename(path)}.ts`;
  return own.includes(namesake) ? new Set([namesake]) : null;
}

function firstLine(text: string): string {
  return text.split('\n')[0] ?? '';
}

/** The folders around a file that are rooms: those deeper than src/ and its floor, from outside to inside. */
function foldersOf(path: string): string[] {
  const parts = path.split('/').slice(0, -1);
  return parts.slice(2).map((_, at) => parts.slice(0, at + 3).join('/'));
}

/** Every room has doors that exist, and a guide no longer than a short paragraph. */
export const guidesRule: Rule = (files) => {
  const texts = new Map(files.map(({ path, text }) => [path, text]));
  return Array.from(roomsOf(files).values()).flatMap(({ path, doors }) => {
    const guide = texts.get(`${path}/README.md`) ?? '';
    const sentences: string[] = [];
    if (doors === null) {
      const name = `${basename(path)}.ts`;
      sentences.push(`no door: name a file ${name}, or begin README.md with "Door: \`name.ts\`.".`);
    }
    for (const door of doors ?? []) {
      if (!texts.has(door)) sentences.push(`the door ${basename(door)} does not exist: name one that does.`);
    }
    if (firstLine(guide).startsWith('Door') && !GUIDE_START.test(firstLine(guide))) {
      const forms = '"Doors: `a.ts`, `b.ts`." or "Doors: every file."';
      sentences.push(`the first line of README.md names no doors: write ${forms}.`);
    }
    if (guide.length > GUIDE_CHARACTERS_MAX) {
      const most = `${GUIDE_CHARACTERS_MAX} characters`;
      sentences.push(`README.md has more than ${most}: a short paragraph is enough.`);
    }
    return sentences.map((sentence): Finding => ({ path, line: 1, sentence }));
  });
};

/** No folder of src/ holds more files than one sees at once. */
export const foldersRule: Rule = (files) => {
  const folders = Map.groupBy(files.filter(isProduct), ({ path }) => dirname(path));
  return [...folders].flatMap(([path, inside]) => {
    if (inside.length <= FOLDER_FILES_MAX) return [];
    const sentence = `${inside.length} files, ${FOLDER_FILES_MAX} at most: move some of them to a new room.`;
    return [{ path, line: 1, sentence }];
  });
};

/** The rooms of a floor, and the files beside them, import each other along few arrows. */
export function arrowsRule(scan: Scan): Rule {
  return (files) =>
    FLOORS_WITH_ARROWS_COUNTED.flatMap((floor): Finding[] => {
      const arrows = arrowsOf(floor, files, scan);
      if (arrows.length <= ARROWS_MAX) return [];
      const count = `${arrows.length} arrows between its rooms, ${ARROWS_MAX} at most`;
      const sentence = `${count}: ${arrows.join(', ')}.`;
      return [{ path: floor, line: 1, sentence }];
    });
}

function arrowsOf(floor: string, files: readonly SourceFile[], scan: Scan): string[] {
  const roomOf = (path: string): string => path.slice(floor.length + 1).split('/')[0] ?? '';
  const inside = files.filter((file) => isProduct(file) && file.path.startsWith(`${floor}/`));
  const arrows = inside.flatMap((file) =>
    importsOf(scan(file)).flatMap(({ specifier }) => {
      const target = targetOf(file, specifier);
      if (target === null || !target.startsWith(`${floor}/`)) return [];
      const from = roomOf(file.path);
      const to = roomOf(target);
      return from === to ? [] : [`${from} -> ${to}`];
    }),
  );
  return [...new Set(arrows)].toSorted();
}
