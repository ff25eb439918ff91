// The kinds of settings: how the text of a flag or a variable becomes a value, and which bounds hold.
import type { ListenAddress } from '../model/listen_address.ts';

/** `expected` completes the sentence "--flag: …, not what was given". */
export type Parsed<T> = { ok: true; value: T } | { ok: false; expected: string };

/** `repeats`: the flag may be given more than once; every other kind is given one text. */
export type Kind<T> = {
  /** Stands for the value in help; empty for a switch, which takes none. */
  readonly placeholder: string;
  /** The bounds in words; empty where every text will do. */
  readonly bounds: string;
  readonly repeats: boolean;
  parse(texts: readonly string[]): Parsed<T>;
};

/** One text, at most `lengthMax` characters, that fits `pattern` where one is given. */
export function text(placeholder: string, options: { pattern?: string; bounds?: string } = {}): Kind<string> {
  const pattern = options.pattern === undefined ? /^.{1,4096}$/s : new RegExp(options.pattern);
  const bounds = options.bounds ?? '';
  return single(placeholder, bounds, (given) =>
    pattern.test(given)
      ? { ok: true, value: given }
      : { ok: false, expected: bounds || 'a text that is not empty' },
  );
}

export function integer(placeholder: string, options: { min: number; max: number }): Kind<number> {
  const bounds = `${options.min} to ${options.max}`;
  return single(placeholder, bounds, (given) => {
    const value = /^-?\d{1,15}$/.test(given) ? Number(given) : Number.NaN;
    const fits = value >= options.min && value <= options.max;
    return fits ? { ok: true, value } : { ok: false, expected: `a whole number from ${bounds}` };
  });
}

export function decimal(placeholder: string, options: { min: number; max: number }): Kind<number> {
  const bounds = `${options.min} to ${options.max}`;
  return single(placeholder, bounds, (given) => {
    const value = /^\d{1,15}(\.\d{1,9})?$/.test(given) ? Number(given) : Number.NaN;
    const fits = value >= options.min && value <= options.max;
    return fits ? { ok: true, value } : { ok: false, expected: `a number from ${bounds}` };
  });
}

export function choice<const T extends string>(placeholder: string, choices: readonly T[]): Kind<T> {
  const bounds = choices.join(' | ');
  return single(placeholder, bounds, (given) => {
    const value = choices.find((one) => one === given);
    return value === undefined
      ? { ok: false, expected: `one of ${choices.join(', ')}` }
      : { ok: true, value };
  });
}

/**
 * `host:port`, `[v6]:port`, a port alone (this machine only) or `:port` (every interface). Port 0: any free
 * one.
 */
export function address(placeholder: string): Kind<ListenAddress> {
  return single(placeholder, 'HOST:PORT, :PORT or PORT', (given) => {
    const match =
      /^(?:(?<host>[A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])?(?<colon>:))?(?<port>\d{1,5})$/.exec(given);
    const port = Number(match?.groups?.['port'] ?? Number.NaN);
    if (match === null || !(port <= 65_535)) return { ok: false, expected: 'HOST:PORT, :PORT or PORT' };
    const anywhere = match.groups?.['colon'] === undefined ? '127.0.0.1' : '0.0.0.0';
    const host = (match.groups?.['host'] ?? anywhere).replace(/^\[|\]$/g, '');
    return { ok: true, value: { host, port } };
  });
}

/** The address as it stands in a URL. */
export function formatAddress(value: ListenAddress): string {
  return `${value.host.includes(':') ? `[${value.host}]` : value.host}:${value.port}`;
}

/** An http or https URL without credentials, query or fragment; kept without a trailing slash. */
export function url(placeholder: string): Kind<string> {
  const expected = 'a URL such as http://127.0.0.1:8080';
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

/** A flag that is repeated, or one text with commas. */
export function list(
  placeholder: string,
  options: { pattern: string; bounds: string; max: number },
): Kind<string[]> {
  const pattern = new RegExp(options.pattern);
  return {
    placeholder,
    bounds: options.bounds,
    repeats: true,
    parse: (texts) => {
      const value = [...new Set(texts.flatMap((given) => given.split(',')).filter((one) => one !== ''))];
      const fits = value.length <= options.max && value.every((one) => pattern.test(one));
      return fits
        ? { ok: true, value }
        : { ok: false, expected: `at most ${options.max} of ${options.bounds}` };
    },
  };
}

/** `K=V`, repeated; `split` also parts one text at commas. Values stay texts. */
export function pairs(
  placeholder: string,
  options: { name: string; max: number; separator: ',' | null },
): Kind<Record<string, string>> {
  const name = new RegExp(options.name);
  const expected = `NAME=VALUE pairs, at most ${options.max}`;
  return {
    placeholder,
    bounds: expected,
    repeats: true,
    parse: (texts) => {
      const { separator } = options;
      const parts = separator === null ? texts : texts.flatMap((given) => given.split(separator));
      const entries: [string, string][] = [];
      for (const part of parts) {
        if (part === '') continue;
        const at = part.indexOf('=');
        if (at < 1 || !name.test(part.slice(0, at))) return { ok: false, expected };
        entries.push([part.slice(0, at), part.slice(at + 1)]);
      }
      const value = Object.fromEntries(entries);
      const fits = entries.length <= options.max && Object.keys(value).length === entries.length;
      return fits ? { ok: true, value } : { ok: false, expected: `${expected}, each name once` };
    },
  };
}

/** Labels as selectors read them: numbers and truth values are told from texts. */
export function labels(placeholder: string, options: { name: string; max: number }): Kind<Labels> {
  const untyped = pairs(placeholder, { ...options, separator: ',' });
  return {
    ...untyped,
    parse: (texts) => {
      const parsed = untyped.parse(texts);
      if (!parsed.ok) return parsed;
      const typed = Object.entries(parsed.value).map(([key, held]) => [key, typedLabel(held)] as const);
      return { ok: true, value: Object.fromEntries(typed) };
    },
  };
}

type Labels = Record<string, string | number | boolean>;

function typedLabel(held: string): string | number | boolean {
  if (held === 'true' || held === 'false') return held === 'true';
  return /^-?\d{1,15}(\.\d{1,9})?$/.test(held) ? Number(held) : held;
}

function single<T>(placeholder: string, bounds: string, parse: (given: string) => Parsed<T>): Kind<T> {
  return {
    placeholder,
    bounds,
    repeats: false,
    parse: (texts) => {
      const [given, ...more] = texts;
      if (given === undefined || more.length > 0) return { ok: false, expected: 'to be given once' };
      return parse(given);
    },
  };
}
