// What a command ends with when it cannot do what was asked: a code, a sentence, and what to do next.

/** `code` is one of the API's error codes or one of the CLI's own; `hint` says what a person may do next. */
export class CliFailure extends Error {
  readonly code: string;
  readonly hint: string | null;

  constructor(code: string, message: string, options: { hint?: string | null } = {}) {
    super(message);
    this.name = 'CliFailure';
    this.code = code;
    this.hint = options.hint ?? HINTS[code] ?? null;
  }
}

const HINTS: Readonly<Record<string, string>> = {
  cp_unreachable:
    'Is a control plane running there? `edge up` starts one; --url or EDGE_URL says where another is.',
  profile_missing: 'Run it beside the data directory of `edge up`, or set EDGE_URL and EDGE_TOKEN.',
  unauthenticated: 'Set EDGE_TOKEN to a valid token; a control plane writes one to <data-dir>/admin-token.',
  forbidden: 'Ask for a token with the rights, or name another project with --project.',
  function_not_found: '`edge functions` lists what there is.',
  version_not_found: '`edge versions NAME` lists what there is.',
  version_exists: 'Leave --version out to get the next number.',
  function_in_use: '`edge undeploy NAME` takes it off the nodes.',
  version_in_use: '`edge undeploy NAME` takes it off the nodes.',
  route_taken: '`edge routes` shows whose it is; choose another --route, --host or --method.',
  no_matching_nodes: '`edge nodes` shows the labels that a selector can ask for.',
  selector_invalid: "A selector looks like: region == 'tokyo' && latency_ms < 30",
  nothing_to_roll_back:
    '`edge versions NAME` lists what can be deployed; name one: edge rollback NAME VERSION.',
  deploy_timeout: 'The nodes go on by themselves; `edge status NAME` shows how far they are.',
  upload_url_expired: 'Run the same command again; nothing is lost.',
  file_unreadable: 'Check the path of the file.',
};
