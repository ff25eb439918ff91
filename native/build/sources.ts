// Derives an apt source for another suite of the Debian archive from the machine's own apt sources.

/** One source of the machine: fields as deb822 spells them, in lower case. */
export type AptSource = {
  types: string[];
  uris: string[];
  suites: string[];
  components: string[];
  /** `Signed-By`, `Trusted` and `Check-Valid-Until` as in the source; an embedded key keeps its lines. */
  trust: Record<string, string>;
};

const TRUST_FIELDS: Record<string, string> = {
  'signed-by': 'Signed-By',
  trusted: 'Trusted',
  'check-valid-until': 'Check-Valid-Until',
};

/** A file named `*.sources` is read as deb822, any other as one source per line (sources.list(5)). */
export function parseSources(name: string, text: string): AptSource[] {
  return name.endsWith('.sources') ? parseStanzas(text) : parseLines(text);
}

/**
 * The source among `sources` that is the Debian archive itself: it has the component main and the suite of
 * this release. A third-party repository may have both, so the likeliest one wins: signed with Debian's
 * keyring, and with an `-updates` suite at the same address.
 */
export function findArchive(sources: readonly AptSource[], codename: string): AptSource | undefined {
  const names = new Set([codename, 'stable', 'oldstable', 'testing', 'unstable', 'sid']);
  const plain = sources.filter(
    (source) =>
      source.types.includes('deb') &&
      source.components.includes('main') &&
      source.suites.some((suite) => names.has(suite)),
  );
  const score = (source: AptSource): number => {
    const signedBy = source.trust['Signed-By'];
    const unsigned = signedBy === undefined ? 2 : 0;
    const byDebian = signedBy?.includes('debian-archive') === true ? 4 : unsigned;
    const uris = new Set(source.uris.map(trimmed));
    const hasUpdates = sources.some(
      (other) =>
        other.suites.some((suite) => suite.endsWith('-updates')) &&
        other.uris.some((uri) => uris.has(trimmed(uri))),
    );
    return byDebian + (hasUpdates ? 3 : 0) + (source.suites.includes(codename) ? 1 : 0);
  };
  return plain.toSorted((a, b) => score(b) - score(a))[0];
}

/** The deb822 text of one source: the archive of `source`, its main component, and `suite` alone. */
export function renderSource(source: AptSource, options: { suite: string; architecture: string }): string {
  const fields = {
    Types: 'deb',
    URIs: source.uris.join(' '),
    Suites: options.suite,
    Components: 'main',
    Architectures: options.architecture,
    Targets: 'Packages',
    ...source.trust,
  };
  return Object.entries(fields)
    .map(([name, value]) => `${name}: ${value}\n`)
    .join('');
}

const trimmed = (uri: string): string => uri.replace(/\/+$/, '');
const words = (text: string | undefined): string[] => (text ?? '').split(/\s+/).filter((word) => word !== '');

function parseStanzas(text: string): AptSource[] {
  const sources: AptSource[] = [];
  const lines = text.split('\n').filter((line) => !line.startsWith('#'));
  for (const stanza of lines.join('\n').split(/\n[ \t]*\n/)) {
    const fields = new Map<string, string>();
    let last = '';
    for (const line of stanza.split('\n')) {
      const pair = /^([!-9;-~]+):[ \t]*(.*)$/.exec(line);
      if (pair !== null) {
        last = (pair[1] ?? '').toLowerCase();
        fields.set(last, (pair[2] ?? '').trimEnd());
      } else if (/^[ \t]/.test(line) && last !== '') {
        fields.set(last, `${fields.get(last) ?? ''}\n${line.trimEnd()}`);
      }
    }
    if (/^(no|false|without|off|disable|0)$/i.test(fields.get('enabled') ?? '')) continue;
    sources.push({
      types: words(fields.get('types')),
      uris: words(fields.get('uris')),
      suites: words(fields.get('suites')),
      components: words(fields.get('components')),
      trust: trustOf(fields),
    });
  }
  return sources.filter((source) => source.uris.length > 0);
}

function parseLines(text: string): AptSource[] {
  const sources: AptSource[] = [];
  for (const line of text.split('\n')) {
    const parts = /^\s*(deb)\s+(?:\[([^\]]*)\]\s*)?(\S+)\s+(\S+)\s*(.*)$/.exec(line.replace(/#.*$/, ''));
    if (parts === null) continue;
    const options = words(parts[2]).map((option): [string, string] => {
      const [name = '', ...value] = option.split('=');
      return [name.toLowerCase(), value.join('=')];
    });
    sources.push({
      types: ['deb'],
      uris: words(parts[3]),
      suites: words(parts[4]),
      components: words(parts[5]),
      trust: trustOf(new Map(options)),
    });
  }
  return sources;
}

function trustOf(fields: ReadonlyMap<string, string>): Record<string, string> {
  const trust: Record<string, string> = {};
  for (const [name, spelling] of Object.entries(TRUST_FIELDS)) {
    const value = fields.get(name);
    if (value !== undefined && value !== '') trust[spelling] = value;
  }
  return trust;
}
