// The closed table of error codes, and the one exception that carries a code of it.

/** `status` is the HTTP status, `retryable` tells a client whether the same request may succeed later. */
export type ErrorEntry = { readonly status: number; readonly message: string; readonly retryable: boolean };

const entry = (status: number, message: string, retryable = false): ErrorEntry => ({
  status,
  message,
  retryable,
});

/** Why bytes are not an acceptable module (spec: upload). Status 422 each. */
export const MODULE_ERRORS = {
  bad_magic: entry(422, 'These bytes are not a WebAssembly module: they do not start with "\\0asm".'),
  unsupported_wasm_version: entry(422, 'Only version 1 of the WebAssembly binary format is accepted.'),
  component_not_supported: entry(422, 'This is a WebAssembly component; only core modules are accepted.'),
  malformed_wasm: entry(422, 'The module is cut short or not well formed.'),
  invalid_wasm: entry(422, 'The module is well formed but does not type-check.'),
  unsupported_proposal: entry(422, 'The module uses a WebAssembly proposal that is not enabled.'),
  aot_section_forbidden: entry(422, 'A custom section named "wasmedge" carries native code and is refused.'),
  forbidden_import: entry(422, 'The module imports something that this product does not offer.'),
  memory_missing: entry(422, 'The module must define one memory and export it as "memory".'),
  memory_min_exceeds_limit: entry(422, 'The initial memory is larger than memory_pages.'),
  table_too_large: entry(422, 'A table is larger than the limit.'),
  too_many_tables: entry(422, 'The module has more tables than the limit.'),
  too_many_functions: entry(422, 'The module has more functions than the limit.'),
  too_many_locals: entry(422, 'A function has more locals than the limit.'),
  nesting_too_deep: entry(422, 'A function nests its blocks deeper than the limit.'),
  too_many_items: entry(422, 'A section of the module has more items than the limit.'),
  function_too_large: entry(422, 'The body of a function is larger than the limit.'),
  data_out_of_bounds: entry(422, 'A data segment lies outside the initial memory.'),
  element_out_of_bounds: entry(422, 'An element segment lies outside its table.'),
  entrypoint_missing: entry(422, 'The module does not export the entrypoint.'),
  entrypoint_signature: entry(422, 'The entrypoint must take ten i32 and return one i32.'),
  abi_not_supported: entry(422, 'The module is built for an ABI that is not supported.'),
  abi_ambiguous: entry(422, 'The module fits more than one ABI; export only one entrypoint.'),
  module_too_complex: entry(422, 'The module takes longer to check than the limit.'),
  name_too_long: entry(422, 'A name in the module is longer than the limit.'),
} as const satisfies Record<string, ErrorEntry>;

/** What ends one invocation on an edge. */
export const GUEST_ERRORS = {
  execution_timeout: entry(504, 'The function did not answer within max_execution_ms.'),
  trap_unreachable: entry(500, 'The function reached an unreachable instruction.'),
  trap_out_of_bounds: entry(500, 'The function accessed memory or a table out of bounds.'),
  trap_arithmetic: entry(500, 'The function divided by zero or overflowed an integer conversion.'),
  trap_indirect_call: entry(500, 'The function called through a bad table entry.'),
  guest_trap: entry(500, 'The function trapped.'),
  guest_stack_exhausted: entry(500, 'The function exhausted its stack.'),
  guest_memory_exhausted: entry(500, 'The function exhausted its memory.'),
  guest_crashed: entry(500, 'The worker of this function crashed.'),
  guest_exited: entry(500, 'The function ended its process instead of answering.'),
  guest_error: entry(500, 'The function answered with an error number.'),
  guest_bad_pointer: entry(500, 'The function gave a pointer outside its memory.'),
  guest_start_failed: entry(500, 'The function could not be instantiated.'),
  response_length_invalid: entry(500, 'The function answered with a length beyond the response buffer.'),
  response_too_large: entry(500, 'The response of the function is larger than the limit.'),
  invalid_guest_response: entry(500, 'The function gave an invalid status or header.'),
  host_call_limit: entry(500, 'The function made more host calls than the limit.'),
  wasi_denied: entry(500, 'The function called a WASI function that is not offered.'),
  worker_lost: entry(500, 'The worker of this function was ended from outside.', true),
} as const satisfies Record<string, ErrorEntry>;

/** Edge conditions that are no fault of the guest. */
export const EDGE_ERRORS = {
  route_not_found: entry(404, 'No route matches this host and path.'),
  method_not_allowed: entry(405, 'This route does not take the method of the request.'),
  request_too_large: entry(413, 'The request body is larger than the limit.'),
  uri_too_long: entry(414, 'The request target is longer than the limit.'),
  headers_too_large: entry(431, 'The request headers are larger than the limit.'),
  bad_request: entry(400, 'The request could not be read.'),
  request_timeout: entry(408, 'The request body did not arrive in time.', true),
  bodies_full: entry(503, 'This node holds as many request bodies as it may.', true),
  quota_concurrency: entry(429, 'The project has as many executions running as its quota allows.', true),
  quota_invocations: entry(429, 'The project has used its invocations of this minute.', true),
  queue_full: entry(503, 'The queue of this function is full.', true),
  not_ready: entry(503, 'The function is not ready on this node yet.', true),
  artifact_unavailable: entry(503, 'The artifact of this function could not be fetched or verified.', true),
  engine_restarting: entry(503, 'The engine of this node is restarting.', true),
  shutting_down: entry(503, 'This node is shutting down.', true),
} as const satisfies Record<string, ErrorEntry>;

/** Conditions of the control plane's API. */
export const CONTROL_ERRORS = {
  validation_failed: entry(422, 'The request has bad fields.'),
  malformed_json: entry(400, 'The request body is not well-formed JSON.'),
  unauthenticated: entry(401, 'A valid token is needed.'),
  forbidden: entry(403, 'This token may not do that.'),
  not_found: entry(404, 'There is nothing at this path.'),
  function_not_found: entry(404, 'There is no such function.'),
  version_not_found: entry(404, 'There is no such version of this function.'),
  route_unknown: entry(404, 'There is no such route.'),
  deployment_not_found: entry(404, 'There is no such deployment.'),
  node_not_found: entry(404, 'There is no such node.'),
  name_taken: entry(409, 'A function of this name exists in the project.'),
  version_exists: entry(409, 'This version exists and is immutable.'),
  version_not_published: entry(409, 'This version has no artifact yet.'),
  version_in_use: entry(409, 'This version is deployed.'),
  function_in_use: entry(409, 'This function is deployed; undeploy it first.'),
  route_taken: entry(409, 'Another function has this route.'),
  node_id_taken: entry(409, 'A node of this id has joined already.'),
  idempotency_conflict: entry(409, 'This idempotency key was used for another request.'),
  no_matching_nodes: entry(409, 'No node matches the selector.'),
  nothing_to_roll_back: entry(409, 'There is no earlier version to roll back to.'),
  not_deployed: entry(409, 'This function is not deployed.'),
  selector_invalid: entry(422, 'The selector is not a valid expression over node labels.'),
  artifact_too_large: entry(413, 'The artifact is larger than the limit.'),
  artifact_empty: entry(422, 'The upload has no bytes.'),
  upload_url_invalid: entry(403, 'This upload URL is invalid.'),
  upload_url_expired: entry(403, 'This upload URL has expired; ask for a new one.'),
  join_token_invalid: entry(401, 'This join token is unknown, used or expired.'),
  limit_reached: entry(409, 'There are as many of these as the limit allows.'),
  internal: entry(500, 'Something went wrong inside; the log has the request id.', true),
  overloaded: entry(503, 'Too many requests are waiting.', true),
} as const satisfies Record<string, ErrorEntry>;

export const ERRORS = { ...MODULE_ERRORS, ...GUEST_ERRORS, ...EDGE_ERRORS, ...CONTROL_ERRORS } as const;

export type ModuleErrorCode = keyof typeof MODULE_ERRORS;
export type GuestErrorCode = keyof typeof GUEST_ERRORS;
export type EdgeErrorCode = keyof typeof EDGE_ERRORS;
export type ErrorCode = keyof typeof ERRORS;

/**
 * Facts that help the caller: offsets, names, fields. Never a host path, a stack or another project's name.
 */
export type ErrorDetails = Record<string, unknown>;

export type ErrorBody = {
  error: { code: ErrorCode; message: string; request_id: string; retryable: boolean; details?: ErrorDetails };
};

/**
 * A refusal with a code of the table; `message` adds a sentence of its own where the table's is too general.
 */
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

/** The one place that turns a code into an HTTP response. */
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
