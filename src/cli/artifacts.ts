// Prints what is wrong with the artifacts of a control plane, and what to do about it.
import type { ArtifactsReport } from '../model/artifact.ts';
import type { Terminal } from './terminal.ts';

/** Artifacts that are listed; the JSON has all. */
const SHOWN_MAX = 20;

export function printArtifacts(terminal: Terminal, report: ArtifactsReport): void {
  const { broken, checked, orphaned, set_aside } = report;
  terminal.print('');
  if (broken.length > 0) {
    const shown = broken.slice(0, SHOWN_MAX);
    const rows = shown.flatMap(({ sha256, state, is_aside, versions }) =>
      versions.map(({ name, version }) => [
        sha256.slice(0, 16),
        is_aside ? 'comes back' : state.toUpperCase(),
        name,
        version,
      ]),
    );
    terminal.printTable([['ARTIFACT', 'STATE', 'FUNCTION', 'VERSION'], ...rows]);
    if (broken.length > SHOWN_MAX) terminal.print(`and ${broken.length - SHOWN_MAX} more: see --json`);
    const [first] = shown.flatMap(({ versions }) => versions);
    terminal.print('Upload the same bytes again, which repairs the version and every other that has them:');
    terminal.print(
      `  curl -H "authorization: Bearer $EDGE_TOKEN" --data-binary @FILE.wasm ` +
        `"$EDGE_URL/api/v1/functions/${first?.function_id ?? 'ID'}/upload?version=${first?.version ?? 'VERSION'}"`,
    );
    terminal.print('');
  }
  if (orphaned.length > 0) {
    terminal.print(
      `${orphaned.length} files belong to no version: the control plane removes them by itself.`,
    );
  }
  if (set_aside.orphaned > 0)
    terminal.print(
      `${set_aside.orphaned} files of no version are in artifacts/orphaned and are deleted in a day.`,
    );
  if (set_aside.damaged > 0)
    terminal.print(`${set_aside.damaged} damaged files are kept in artifacts/damaged: look at the disk.`);
  terminal.print(`Artifacts: ${checked} checked, ${broken.length} damaged or missing.`);
}
