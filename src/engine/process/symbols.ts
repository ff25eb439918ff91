// The functions of libedge_engine.so as bun:ffi takes them; their contract is native/engine.h.

export const ENGINE_SYMBOLS = {
  edge_engine_wasmedge_version: { args: [], returns: 'cstring' },
  edge_engine_serve: {
    args: ['u32', 'i32', 'ptr', 'u32', 'u32', 'u32', 'u32', 'u32', 'u32', 'u32'],
    returns: 'i32',
  },
} as const;
