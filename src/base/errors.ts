// The closed table of error codes, the exception that carries one, and the response that tells a client.

/** `status` is the HTTP status; `retryable` says whether the same request may succeed later. */
export type ErrorEntry = { readonly status: number; readonly message: string; readonly retryable: boolean };

const entry = (status: number, message: string, retryable = false): ErrorEntry => ({
  status,
  message,
  retryable,
});

/** Why a module is refused. A fault adds to the sentence what it found and where (`moduleFault`). */
export const MODULE_ERRORS = {
  bad_magic: entry(422, 'The file does not start with "\\0asm": upload a compiled WebAssembly module.'),
  unsupported_wasm_version: entry(422, 'The module is not in version 1 of the WebAssembly binary format.'),
  component_not_supported: entry(422, 'The file is a WebAssembly component: build a core module instead.'),
  malformed_wasm: entry(422, 'The module is truncated or malformed.'),
  invalid_wasm: entry(422, 'The module is well formed but not valid WebAssembly.'),
  unsupported_proposal: entry(422, 'The module uses a proposal that is not enabled: build it without.'),
  aot_section_forbidden: entry(422, 'The section "wasmedge" carries native code: upload without it.'),
  forbidden_import: entry(422, 'The module imports something that edge does not offer.'),
  memory_missing: entry(422, 'The module must define one memory and export it as "memory".'),
  memory_min_exceeds_limit: entry(422, 'The initial memory is larger than memory_pages: raise the setting.'),
  table_too_large: entry(422, 'A table is larger than the limit.'),
  too_many_tables: entry(422, 'The module has more tables than the limit.'),
  too_many_functions: entry(422, 'The module has more functions than the limit.'),
  too_many_locals: entry(422, 'A function has more locals than the limit.'),
  nesting_too_deep: entry(422, 'A function nests its blocks deeper than the limit.'),
  too_many_items: entry(422, 'A section of the module has more items than the limit.'),
  function_too_large: entry(422, 'The body of a function is larger than the limit.'),
  data_out_of_bounds: entry(422, 'A data segment lies outside the initial memory.'),
  element_out_of_bounds: entry(422, 'An element segment lies outside its table.'),
  entrypoint_missing: entry(422, 'The module does not export its entrypoint.'),
  entrypoint_signature: entry(422, 'The entrypoint must take ten i32 and return one i32.'),
  abi_not_supported: entry(422, 'The ABI of the module is not supported: export the entrypoint.'),
  abi_ambiguous: entry(422, 'The module fits more than one ABI: export only one entrypoint.'),
  module_too_complex: entry(422, 'The check took longer than the limit: make the module smaller.'),
  name_too_long: entry(422, 'A name in the module is longer than the limit.'),
} as const satisfies Record<string, ErrorEntry>;

/** How one invocation of a guest ends without its answer. */
export const GUEST_ERRORS = {
  execution_timeout: entry(504, 'The function did not answer within max_execution_ms.'),
  trap_unreachable: entry(500, 'The function panicked or aborted: it reached an unreachable instruction.'),
  trap_out_of_bounds: entry(500, 'The function accessed memory or a table out of bounds.'),
  trap_arithmetic: entry(500, 'The function divided by zero or overflowed an integer conversion.'),
  trap_indirect_call: entry(500, 'The function called a function pointer that is empty or of another type.'),
  guest_trap: entry(500, 'The function stopped with a trap.'),
  guest_stack_exhausted: entry(500, 'The function ran out of stack.'),
  guest_memory_exhausted: entry(500, 'The function ran out of memory.'),
  guest_crashed: entry(500, 'The worker process of the function crashed.'),
  guest_exited: entry(500, 'The function called proc_exit instead of answering.'),
  guest_error: entry(500, 'The function returned an error number instead of a length.'),
  guest_bad_pointer: entry(500, 'The function passed a pointer outside its memory.'),
  guest_start_failed: entry(500, 'The function could not be loaded and instantiated.'),
  response_length_invalid: entry(500, 'The function returned a length beyond its response buffer.'),
  response_too_large: entry(500, 'The response of the function is larger than the limit.'),
  invalid_guest_response: entry(500, 'The function set an invalid status or header.'),
  host_call_limit: entry(500, 'The function made more host calls in one request than the limit.'),
  wasi_denied: entry(500, 'The function called a WASI function that is not offered.'),
  worker_lost: entry(500, 'The worker process of the function was lost: try again.', true),
} as const satisfies Record<string, ErrorEntry>;

/** Why an edge refuses a request without an invocation. */
export const EDGE_ERRORS = {
  route_not_found: entry(404, 'No route matches this host and path.'),
  method_not_allowed: entry(405, 'The route does not take this method: see the Allow header.'),
  request_too_large: entry(413, 'The request body is larger than the limit.'),
  uri_too_long: entry(414, 'The path and query of the request are longer than the limit.'),
  headers_too_large: entry(431, 'The request has more headers, or larger ones, than the limit.'),
  bad_request: entry(400, 'The request is malformed.'),
  request_timeout: entry(408, 'The request body did not arrive in time: try again.', true),
  bodies_full: entry(503, 'This node has no memory left for another request body: try again later.', true),
  quota_concurrency: entry(429, 'The project is at its quota of concurrent requests: try again later.', true),
  quota_invocations: entry(429, 'The project is at its quota of requests per minute: try again later.', true),
  queue_full: entry(503, 'The queue of the function is full: try again later.', true),
  not_ready: entry(503, 'The function is not ready on this node yet: try again later.', true),
  artifact_unavailable: entry(503, 'The artifact could not be fetched or verified: try again later.', true),
  engine_restarting: entry(503, 'The engine of this node is restarting: try again.', true),
  shutting_down: entry(503, 'The server is shutting down: try again.', true),
} as const satisfies Record<string, ErrorEntry>;

/** Why the control plane's API refuses a request. */
export const CONTROL_ERRORS = {
  validation_failed: entry(422, 'The request has bad fields.'),
  malformed_json: entry(400, 'The request body is not well-formed JSON.'),
  unauthenticated: entry(401, 'A valid token is needed. Send it as "authorization: Bearer TOKEN".'),
  forbidden: entry(403, 'This token may not do that.'),
  not_found: entry(404, 'The API has nothing at this path.'),
  function_not_found: entry(404, 'There is no such function.'),
  version_not_found: entry(404, 'There is no such version of this function.'),
  route_unknown: entry(404, 'There is no such route.'),
  deployment_not_found: entry(404, 'There is no such deployment.'),
  node_not_found: entry(404, 'There is no such node.'),
  name_taken: entry(409, 'The project has a function of this name already: choose another name.'),
  version_exists: entry(409, 'This version exists and cannot be changed: choose another number.'),
  version_not_published: entry(409, 'This version has no artifact yet: upload one first.'),
  version_in_use: entry(409, 'This version is deployed: deploy another one first.'),
  function_in_use: entry(409, 'This function is deployed: undeploy it first.'),
  route_taken: entry(409, 'Another function has this route: choose another path, host or method.'),
  host_taken: entry(409, 'This host belongs to another project: choose a host of your own.'),
  node_id_taken: entry(409, 'A node of this id has joined already: choose another id, or delete that node.'),
  node_not_diverged: entry(409, 'The node refuses nothing that a rebase would end: there is nothing to do.'),
  idempotency_conflict: entry(409, 'This idempotency key was used for another request: use a new one.'),
  no_matching_nodes: entry(
    409,
    'No node matches the target: compare it with the pops and labels of the nodes.',
  ),
  nothing_to_roll_back: entry(409, 'There is no earlier version to roll back to.'),
  from_not_active: entry(409, 'No deployment runs the version that is to be left.'),
  not_deployed: entry(409, 'This function is not deployed: deploy a version of it first.'),
  selector_invalid: entry(422, 'The selector is not a valid expression over node labels.'),
  artifact_too_large: entry(413, 'The artifact is larger than the limit.'),
  artifact_empty: entry(422, 'The upload has no bytes: send the module as the body.'),
  upload_url_invalid: entry(403, 'This upload URL is invalid: ask for a new one.'),
  upload_url_expired: entry(403, 'This upload URL has expired: ask for a new one.'),
  join_token_invalid: entry(401, 'The join token is unknown, used or expired: run `edge join-token`.'),
  limit_reached: entry(409, 'The limit is reached: delete one that is not needed.'),
  internal: entry(500, 'Something failed inside: the log has the cause under this request id.', true),
  overloaded: entry(503, 'Too many requests are waiting: try again later.', true),
  storage_busy: entry(
    503,
    'Another process holds the database of the control plane, and nothing was changed: try again later.',
    true,
  ),
  storage_full: entry(
    507,
    'The disk of the control plane is full or read-only, and nothing was changed: make room on it.',
    true,
  ),
} as const satisfies Record<string, ErrorEntry>;

export const ERRORS = { ...MODULE_ERRORS, ...GUEST_ERRORS, ...EDGE_ERRORS, ...CONTROL_ERRORS } as const;

export type ModuleErrorCode = keyof typeof MODULE_ERRORS;
export type GuestErrorCode = keyof typeof GUEST_ERRORS;
export type EdgeErrorCode = keyof typeof EDGE_ERRORS;
export type ErrorCode = keyof typeof ERRORS;

/** Facts that help the caller: offsets, names, fields; no path of this host, no name of another project. */
export type ErrorDetails = Record<string, unknown>;

export type ErrorBody = {
  error: { code: ErrorCode; message: string; request_id: string; retryable: boolean; details?: ErrorDetails };
};

/** A refusal with a code of the table. `message` replaces the table's sentence where it says too little. */
export class CodedError extends Error {
  readonly code: ErrorCode;
  readonly details: ErrorDetails | undefined;

  constructor(code: ErrorCode, options: { message?: string; details?: ErrorDetails } = {}) {
    super(options.message ?? ERRORS[code].message);
    this.name = 'CodedError';
    this.code = code;
    this.details = options.details;
  }
}

function errorBody(
  code: ErrorCode,
  requestId: string,
  options: { message?: string | undefined; details?: ErrorDetails | undefined } = {},
): ErrorBody {
  const { message, retryable } = ERRORS[code];
  const details = options.details === undefined ? {} : { details: options.details };
  return {
    error: { code, message: options.message ?? message, request_id: requestId, retryable, ...details },
  };
}

/** The HTTP response for a code: its status, and the JSON body `{ error }` with the request's id. */
export function errorResponse(
  code: ErrorCode,
  requestId: string,
  options: {
    message?: string | undefined;
    details?: ErrorDetails | undefined;
    headers?: Record<string, string>;
  } = {},
): Response {
  return new Response(JSON.stringify(errorBody(code, requestId, options)), {
    status: ERRORS[code].status,
    headers: { 'content-type': 'application/json', 'x-request-id': requestId, ...options.headers },
  });
}
