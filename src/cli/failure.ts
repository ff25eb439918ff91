// Why a command failed: a code, a sentence, and what a person may do next.

/** `code` is one of the API's error codes or one of the CLI's own. */
export class CliFailure extends Error {
  readonly code: string;
  /** What to do next; null where there is nothing to say. */
  readonly hint: string | null;

  constructor(code: string, message: string, options: { hint?: string | null } = {}) {
    super(message);
    this.name = 'CliFailure';
    this.code = code;
    this.hint = options.hint ?? HINTS[code] ?? null;
  }
}

/** Where a person who has no token finds one. */
export const ADMIN_TOKEN = 'the control plane wrote one to <data-dir>/admin-token at its first start';

const HINTS: Readonly<Record<string, string>> = {
  cp_unreachable: 'Start a control plane there (`edge up`), or name the right one with --url or EDGE_URL.',
  outcome_unknown: '`edge status NAME` and `edge functions` show what is there; then repeat what is missing.',
  bad_answer: 'Check --url or EDGE_URL, and that the control plane has the version of this program.',
  profile_missing: 'Run the command in the directory of `edge up`, or set EDGE_URL and EDGE_TOKEN.',
  profile_invalid: 'Repair or remove this file, or set EDGE_URL and EDGE_TOKEN.',
  unauthenticated: `Set EDGE_TOKEN to a valid token; ${ADMIN_TOKEN}.`,
  route_not_found: 'An edge answered; name the control plane with --url or EDGE_URL.',
  forbidden: 'Use a token with more rights, or name another project with --project.',
  function_not_found: '`edge functions` lists the functions.',
  version_not_found: '`edge versions NAME` lists the versions.',
  version_exists: 'Leave --version out: the new version gets the next number.',
  function_in_use: 'Run `edge undeploy NAME` first.',
  version_in_use: 'Run `edge undeploy NAME` first.',
  route_taken: '`edge routes` shows which function has it; choose another --route, --host or --method.',
  no_matching_nodes: 'Nothing has changed. `edge nodes` lists pops and labels.',
  selector_invalid: "Nothing has changed. A selector looks like this: region == 'tokyo' and latency_ms < 30",
  nothing_to_roll_back:
    '`edge versions NAME` lists the versions; deploy one with `edge rollback NAME VERSION`.',
  from_not_active: 'Nothing has changed. `edge status NAME` shows what runs where.',
  deployment_not_found: '`edge deployments` lists the deployments with their ids.',
  deploy_failed:
    'The node keeps the version that it had and tries again; `edge status NAME` shows every node.',
  deploy_waiting: '`edge deployments` shows what waits; `edge nodes` shows which nodes are offline.',
  deploy_superseded: '`edge status NAME` shows the current deployment.',
  deploy_timeout: 'The nodes continue by themselves; `edge status NAME` shows their progress.',
  upload_url_expired: 'Run the same command again: it continues where it stopped.',
  artifact_too_large: 'Build the module with optimization and without debug information.',
  file_unreadable: 'Check the path of the file.',
};
