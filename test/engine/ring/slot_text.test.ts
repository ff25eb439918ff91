// What the edge writes into a slot and reads out of it, byte by byte: request heads, answer heads, logs.
import { describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import { REQUEST_BOUNDS } from '../../../src/base/limits/request.ts';
import { decodeLogRecords } from '../../../src/engine/ring/log_records.ts';
import { encodeRequestHead, type HeadLengths } from '../../../src/engine/ring/request_head.ts';
import { createResponseHeadDecoder, decodeResponseHead } from '../../../src/engine/ring/response_head.ts';

const lengths = (): HeadLengths => ({ method: 0, target: 0, headers: 0, requestId: 0 });
const request = { requestId: 'r', method: 'GET', target: '/a', headers: 'b: c\r\n', body: null };

describe('The head of a request', () => {
  test('lies packed in the order of the contract', () => {
    const target = new Uint8Array(64);
    const found = lengths();
    expect(encodeRequestHead(request, target, found)).toBe(true);
    expect(found).toEqual({ method: 3, target: 2, headers: 6, requestId: 1 });
    expect(Buffer.from(target).toString('latin1', 0, 12)).toBe('GET/ab: c\r\nr');
  });

  test('carries header bytes above 127 as they were received', () => {
    const target = new Uint8Array(64);
    const found = lengths();
    expect(encodeRequestHead({ ...request, headers: 'n: \u00e9\r\n' }, target, found)).toBe(true);
    expect(found.headers).toBe(6);
    expect(target[3 + 2 + 3]).toBe(0xe9);
  });

  test('never folds a wide character into a line break', () => {
    const target = new Uint8Array(64);
    encodeRequestHead({ ...request, headers: 'n: \u010d\u010a', requestId: '' }, target, lengths());
    expect(Buffer.from(target).includes(Buffer.from([0x0d]))).toBe(false);
    expect(Buffer.from(target).includes(Buffer.from([0x0a]))).toBe(false);
  });

  test('says so when it does not fit, for any text and any room', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 40 }), fc.nat(60), (headers, room) => {
        const target = new Uint8Array(room);
        const found = lengths();
        const fits = encodeRequestHead({ ...request, headers }, target, found);
        const isLatin1 = /^[\0-\xff]*$/.test(headers);
        const bytes = 6 + (isLatin1 ? headers.length : Buffer.byteLength(headers));
        expect(fits).toBe(bytes <= room);
        if (fits) expect(found.method + found.target + found.headers + found.requestId).toBe(bytes);
      }),
    );
  });
});

describe('The head of an answer', () => {
  test('comes back in order, in lower case, with repeated names', () => {
    expect(decodeResponseHead(200, 'X-A: 1\r\nset-cookie: b\r\nset-cookie:c\r\nempty:\r\n')).toEqual({
      ok: true,
      headers: [
        ['x-a', '1'],
        ['set-cookie', 'b'],
        ['set-cookie', 'c'],
        ['empty', ''],
      ],
    });
  });

  test.each([
    ['a line without a colon', 200, 'no colon\r\n'],
    ['a line without an end', 200, 'a: b'],
    ['a bare line feed', 200, 'a: b\nset-cookie: x\r\n'],
    ['a bare carriage return', 200, 'a: b\rc\r\n'],
    ['a NUL', 200, 'a: b\0\r\n'],
    ['an empty name', 200, ': b\r\n'],
    ['a space in the name', 200, 'a b: c\r\n'],
    ['a header of the connection', 200, 'Transfer-Encoding: chunked\r\n'],
    ['status 199', 199, ''],
    ['status 600', 600, ''],
    ['one header too many', 200, 'a: b\r\n'.repeat(REQUEST_BOUNDS.responseHeadersCountMax + 1)],
  ])('is refused with %s', (_, status, text) => {
    expect(decodeResponseHead(status, text).ok).toBe(false);
  });

  test('keeps every byte of a value, and drops the blanks around it', () => {
    const text = 'a: voil\xc3\xa0\r\nb: \t \xa0\x85 \t\xa0 \t\r\nc:\t \r\n';
    expect(decodeResponseHead(200, text)).toEqual({
      ok: true,
      headers: [
        ['a', 'voil\xc3\xa0'],
        ['b', '\xa0\x85 \t\xa0'],
        ['c', ''],
      ],
    });
  });

  test('never throws, whatever a worker wrote; what it holds comes back when it is written again', () => {
    const byte = fc.string({
      unit: fc.integer({ max: 255, min: 0 }).map((code) => String.fromCharCode(code)),
    });
    const line = fc
      .tuple(fc.constantFrom('x-a', 'set-cookie', 'X-B'), byte)
      .map(([name, value]) => `${name}: ${value}\r\n`);
    const head = fc.oneof(
      byte,
      fc.array(fc.oneof({ arbitrary: line, weight: 9 }, byte)).map((lines) => lines.join('')),
    );
    fc.assert(
      fc.property(fc.integer({ min: 100, max: 700 }), head, (status, text) => {
        const decoded = decodeResponseHead(status, text);
        if (!decoded.ok) return expect(decoded.detail).not.toMatch(/[\0-\x1f]/);
        const again = decoded.headers.map(([name, value]) => `${name}: ${value}\r\n`).join('');
        expect(decodeResponseHead(status, again)).toEqual(decoded);
        const headers = new Headers();
        for (const [name, value] of decoded.headers) headers.append(name, value);
        if (decoded.headers.length === 1)
          expect(headers.get(decoded.headers[0]?.[0] ?? '')).toBe(decoded.headers[0]?.[1] ?? '');
      }),
      { numRuns: 2_000 },
    );
  });

  test('takes time in proportion to its length', () => {
    const begun = performance.now();
    const blanks = ' '.repeat(REQUEST_BOUNDS.responseHeadersBytesMax - 100);
    for (let i = 0; i < 10; i += 1) expect(decodeResponseHead(200, `a: b${blanks}c\r\n`).ok).toBe(true);
    expect(performance.now() - begun).toBeLessThan(200);
  });

  test('is remembered without being shared', () => {
    const decode = createResponseHeadDecoder();
    const first = decode(200, 'a: b\r\n');
    if (!first.ok) throw new Error(first.detail);
    first.headers[0] = ['a', 'changed'];
    first.headers.push(['c', 'd']);
    expect(decode(200, 'a: b\r\n')).toEqual({ ok: true, headers: [['a', 'b']] });
    expect(decode(199, 'a: b\r\n').ok).toBe(false);
  });
});

describe('The log records of a slot', () => {
  const record = (level: number, text: string): Buffer => {
    const bytes = Buffer.from(text);
    const padded = Buffer.alloc(8 + Math.ceil(bytes.length / 4) * 4);
    padded.writeUInt32LE(level, 0);
    padded.writeUInt32LE(bytes.length, 4);
    bytes.copy(padded, 8);
    return padded;
  };

  test('come back as lines', () => {
    const bytes = Buffer.concat([record(2, 'hello'), record(4, ''), record(0, 'caf\u00e9')]);
    expect(decodeLogRecords(bytes, 3)).toEqual({
      lines: [
        { level: 2, text: 'hello' },
        { level: 4, text: '' },
        { level: 0, text: 'caf\u00e9' },
      ],
      dropped: 3,
    });
  });

  test.each([
    ['a level that is not there', record(5, 'x')],
    ['a length beyond the area', Buffer.from([2, 0, 0, 0, 255, 255, 255, 255, 0, 0, 0, 0])],
  ])('end at %s, which is counted', (_, bad) => {
    expect(decodeLogRecords(Buffer.concat([record(1, 'kept'), bad]), 0)).toEqual({
      lines: [{ level: 1, text: 'kept' }],
      dropped: 1,
    });
  });

  test('never throw, for any bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        expect(decodeLogRecords(bytes, 0).lines.length).toBeLessThanOrEqual(REQUEST_BOUNDS.logLinesMax);
      }),
    );
  });
});
