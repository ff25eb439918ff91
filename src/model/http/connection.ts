// Ends a connection with an answer where what follows on it may not be a request.

/**
 * The same answer. It ends its connection after a request that was not understood, and after `CONNECT`: a front
 * that asked for a tunnel sends the bytes of somebody else next (RFC 9110, 9.3.6; RFC 9112, 9.3).
 */
export function endWhereNeeded(method: string, response: Response): Response {
  if (response.status === 400 || method === 'CONNECT') response.headers.set('connection', 'close');
  return response;
}
