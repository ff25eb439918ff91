// Reads the head of an answer as a worker wrote it: hostile bytes, checked before they are used.
import { REQUEST_BOUNDS } from '../../base/limits/request.ts';
import { refuseResponseHead } from '../../model/http/headers.ts';

export type ResponseHeaders = [name: string, value: string][];

export type ResponseHead = { ok: true; headers: ResponseHeaders } | { ok: false; detail: string };

const BOUNDS = {
  bytesMax: REQUEST_BOUNDS.responseHeadersBytesMax,
  countMax: REQUEST_BOUNDS.responseHeadersCountMax,
};

const TAB = 0x09;
const SPACE = 0x20;

/** A value without the blanks around it (RFC 9110, 5.6.3). Not `trim`: it takes 0xA0, a byte of UTF-8 here. */
function withoutBlanks(text: string, from: number, to: number): string {
  const isBlank = (at: number): boolean => text.charCodeAt(at) === SPACE || text.charCodeAt(at) === TAB;
  let start = from;
  let end = to;
  while (start < end && isBlank(start)) start += 1;
  while (end > start && isBlank(end - 1)) end -= 1;
  return text.slice(start, end);
}

/**
 * `text` is `name: value\r\n` lines, decoded as Latin-1. Names come back in lower case, in the guest's order,
 * with repetitions; status and headers have passed `refuseResponseHead`.
 */
export function decodeResponseHead(status: number, text: string): ResponseHead {
  const headers: ResponseHeaders = [];
  let at = 0;
  while (at < text.length) {
    if (headers.length >= BOUNDS.countMax)
      return { ok: false, detail: `there are more than ${BOUNDS.countMax} headers` };
    const end = text.indexOf('\r\n', at);
    const colon = text.indexOf(':', at);
    if (end < 0 || colon < 0 || colon > end)
      return { ok: false, detail: 'a header line is not `name: value`' };
    headers.push([text.slice(at, colon).toLowerCase(), withoutBlanks(text, colon + 1, end)]);
    at = end + 2;
  }
  const refusal = refuseResponseHead(status, headers, BOUNDS);
  return refusal === null ? { ok: true, headers } : { ok: false, detail: refusal };
}

export type ResponseHeadDecoder = (status: number, text: string) => ResponseHead;

/** Decodes and remembers the last head: most answers of a function repeat the head of the one before. */
export function createResponseHeadDecoder(): ResponseHeadDecoder {
  let lastStatus = 0;
  let lastText = '';
  let lastHeaders: ResponseHeaders = [];
  return (status, text) => {
    if (status === lastStatus && text === lastText) {
      return { ok: true, headers: lastHeaders.map(([name, value]) => [name, value]) };
    }
    const head = decodeResponseHead(status, text);
    if (head.ok) {
      lastStatus = status;
      lastText = text;
      lastHeaders = head.headers.map(([name, value]) => [name, value]);
    }
    return head;
  };
}
