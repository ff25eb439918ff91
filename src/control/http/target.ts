// The target of a request: its path and its query, as the router reads them.
import { CodedError } from '../../base/errors.ts';
import { REQUEST_BOUNDS } from '../../base/limits/request.ts';

/** `path` ends before the query, `query` starts with `?` or is empty; neither is decoded or normalised. */
export type Target = { readonly path: string; readonly query: string };

/** The length of `http://`: the router takes the first slash behind it for the start of the path. */
const AUTHORITY_START = 7;

export function targetOf(request: Request): Target {
  const { url } = request;
  const start = url.indexOf('/', AUTHORITY_START);
  const end = url.indexOf('?', start);
  if (end === -1) return { path: url.slice(start), query: '' };
  return { path: url.slice(start, end), query: url.slice(end) };
}

/**
 * Refuses `uri_too_long`, and `bad_request` where the router could read another path than the access table.
 * That happens where host and target make no valid URL, because the server then hands them on unparsed.
 */
export function requirePlainTarget(request: Request): void {
  if (request.url.length > REQUEST_BOUNDS.targetBytesMax) throw new CodedError('uri_too_long');
  if (URL.parse(request.url)?.pathname !== targetOf(request).path) throw new CodedError('bad_request');
}
