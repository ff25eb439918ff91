// The kinds of settings: how the text of a flag or a variable becomes a value, and which values are allowed.
import type { ListenAddress } from '../model/listen_address.ts';
import { type Labels, labelValue } from '../model/names.ts';

/** `expected` completes the sentence "--flag: expected …, not what was given". */
export type Parsed<T> = { ok: true; value: T } | { ok: false; expected: string };

export type Kind<T> = {
  /** Stands for the value in help; empty for a switch, which takes none. */
  readonly placeholder: string;
  /** The allowed values in words; empty where every text is allowed. */
  readonly bounds: string;
  /** Whether the flag may be given more than once. */
  readonly repeats: boolean;
  /** `texts` holds one text unless the kind repeats. */
  parse(texts: readonly string[]): Parsed<T>;
};

/** A text that fits `pattern`; without one, any text of 1 to 4096 characters. */
export function text(placeholder: string, options: { pattern?: string; bounds?: string } = {}): Kind<string> {
  const pattern = options.pattern === undefined ? /^.{1,4096}$/s : new RegExp(options.pattern);
  const bounds = options.bounds ?? '';
  return single(placeholder, bounds, (given) =>
    pattern.test(given)
      ? { ok: true, value: given }
      : { ok: false, expected: bounds === '' ? 'a text of 1 to 4096 characters' : bounds },
  );
}

/** `unit` is what is counted, in the plural. */
export type NumberOptions = { min: number; max: number; unit: string };

export function integer(placeholder: string, options: NumberOptions): Kind<number> {
  const { min, max, unit } = options;
  return single(placeholder, `${min} to ${max} ${unit}`, (given) => {
    const value = /^-?\d{1,15}$/.test(given) ? Number(given) : Number.NaN;
    if (value >= min && value <= max) return { ok: true, value };
    return { ok: false, expected: `a whole number of ${unit} from ${min} to ${max}` };
  });
}

export function decimal(placeholder: string, options: NumberOptions): Kind<number> {
  const { min, max, unit } = options;
  return single(placeholder, `${min} to ${max} ${unit}`, (given) => {
    const value = /^\d{1,15}(\.\d{1,9})?$/.test(given) ? Number(given) : Number.NaN;
    if (value >= min && value <= max) return { ok: true, value };
    return { ok: false, expected: `a number of ${unit} from ${min} to ${max}` };
  });
}

export function choice<const T extends string>(placeholder: string, choices: readonly T[]): Kind<T> {
  const bounds = `${choices.slice(0, -1).join(', ')} or ${choices.at(-1)}`;
  return single(placeholder, bounds, (given) => {
    const value = choices.find((one) => one === given);
    return value === undefined ? { ok: false, expected: bounds } : { ok: true, value };
  });
}

/** `host:port`, `[v6]:port`, a port alone (127.0.0.1) or `:port` (0.0.0.0). Port 0 is any free port. */
export function address(placeholder: string): Kind<ListenAddress> {
  const bounds = 'HOST:PORT, :PORT or PORT';
  return single(placeholder, bounds, (given) => {
    const match =
      /^(?:(?<host>[A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])?(?<colon>:))?(?<port>\d{1,5})$/.exec(given);
    const port = Number(match?.groups?.['port'] ?? Number.NaN);
    if (match === null || !(port <= 65_535)) return { ok: false, expected: bounds };
    const implied = match.groups?.['colon'] === undefined ? '127.0.0.1' : '0.0.0.0';
    const host = (match.groups?.['host'] ?? implied).replace(/^\[|\]$/g, '');
    return { ok: true, value: { host, port } };
  });
}

/** The address as it stands in a URL. */
export function formatAddress({ host, port }: ListenAddress): string {
  return `${host.includes(':') ? `[${host}]` : host}:${port}`;
}

/** An http or https URL without credentials, query or fragment; its value has no trailing slash. */
export function url(placeholder: string): Kind<string> {
  const expected = 'an http or https URL such as http://127.0.0.1:8080';
  return single(placeholder, 'http or https', (given) => {
    const parsed = URL.canParse(given) ? new URL(given) : null;
    const isPlain =
      parsed !== null &&
      (parsed.protocol === 'http:' || parsed.protocol === 'https:') &&
      `${parsed.username}${parsed.password}${parsed.search}${parsed.hash}` === '';
    return isPlain ? { ok: true, value: parsed.href.replace(/\/+$/, '') } : { ok: false, expected };
  });
}

/** A switch takes no value on the command line; a variable says `true` or `false`. */
export function onOff(): Kind<boolean> {
  return single('', '', (given) => {
    if (given === 'true' || given === '1') return { ok: true, value: true };
    if (given === 'false' || given === '0' || given === '') return { ok: true, value: false };
    return { ok: false, expected: 'true or false' };
  });
}

/** Texts that fit `pattern`, as a repeated flag or as one text with commas; each is kept once. */
export function list(
  placeholder: string,
  options: { pattern: string; bounds: string; max: number },
): Kind<string[]> {
  const { bounds, max } = options;
  const pattern = new RegExp(options.pattern);
  return {
    placeholder,
    bounds,
    repeats: true,
    parse: (texts) => {
      const value = [...new Set(texts.flatMap((given) => given.split(',')).filter((one) => one !== ''))];
      const fits = value.length <= max && value.every((one) => pattern.test(one));
      return fits ? { ok: true, value } : { ok: false, expected: bounds };
    },
  };
}

const NAME_RULE = 'where NAME has letters, digits and underscores and does not start with a digit';

type PairOptions = { name: string; max: number; separator: ',' | null };

/** `NAME=VALUE`, repeated; with a `separator`, one text may hold several. Values stay texts. */
export function pairs(placeholder: string, options: PairOptions): Kind<Record<string, string>> {
  const { max, separator } = options;
  const name = new RegExp(options.name);
  const bounds = `NAME=VALUE, at most ${max}`;
  return {
    placeholder,
    bounds,
    repeats: true,
    parse: (texts) => {
      const parts = separator === null ? texts : texts.flatMap((given) => given.split(separator));
      const entries: [string, string][] = [];
      for (const part of parts) {
        if (part === '') continue;
        const at = part.indexOf('=');
        if (at < 1 || !name.test(part.slice(0, at))) {
          return { ok: false, expected: `NAME=VALUE, ${NAME_RULE}` };
        }
        entries.push([part.slice(0, at), part.slice(at + 1)]);
      }
      const value = Object.fromEntries(entries);
      const fits = entries.length <= max && Object.keys(value).length === entries.length;
      return fits ? { ok: true, value } : { ok: false, expected: `${bounds}, each NAME once` };
    },
  };
}

/** Pairs with commas whose values become numbers and truth values where they look like them. */
export function labels(placeholder: string, options: { name: string; max: number }): Kind<Labels> {
  const untyped = pairs(placeholder, { ...options, separator: ',' });
  return {
    ...untyped,
    parse: (texts) => {
      const parsed = untyped.parse(texts);
      if (!parsed.ok) return parsed;
      const typed = Object.entries(parsed.value).map(([key, value]) => [key, labelValue(value)] as const);
      return { ok: true, value: Object.fromEntries(typed) };
    },
  };
}

function single<T>(placeholder: string, bounds: string, parse: (given: string) => Parsed<T>): Kind<T> {
  return {
    placeholder,
    bounds,
    repeats: false,
    parse: (texts) => {
      const [given, ...more] = texts;
      if (given === undefined || more.length > 0) return { ok: false, expected: 'one value' };
      return parse(given);
    },
  };
}
