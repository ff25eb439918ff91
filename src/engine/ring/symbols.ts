// The functions of the two native libraries as bun:ffi takes them; their contract is ring.h and engine.h.

/** libedge_ring.so, the edge's side of the ring. */
export const RING_SYMBOLS = {
  edge_ring_layout_version: { args: [], returns: 'u32' },
  edge_ring_open: { args: ['u32', 'u32', 'u32', 'u32', 'u32', 'u32'], returns: 'ptr' },
  edge_ring_close: { args: ['ptr'], returns: 'void' },
  edge_ring_errno: { args: [], returns: 'i32' },
  edge_ring_memfd: { args: ['ptr'], returns: 'i32' },
  edge_ring_command_open: { args: ['ptr'], returns: 'i32' },
  edge_ring_command_close: { args: ['ptr'], returns: 'void' },
  edge_ring_slot: { args: ['ptr', 'u32'], returns: 'ptr' },
  edge_ring_slot_bytes: { args: ['ptr'], returns: 'u32' },
  edge_ring_offset: { args: ['ptr', 'u32'], returns: 'u32' },
  edge_code_open: { args: ['ptr', 'u32'], returns: 'i32' },
  edge_fd_close: { args: ['i32'], returns: 'void' },
  edge_ring_fork: { args: ['ptr', 'u32', 'u32', 'i32'], returns: 'i32' },
  edge_ring_kill: { args: ['ptr', 'u32', 'u32'], returns: 'i32' },
  edge_ring_compile: { args: ['ptr', 'u32', 'i32', 'u32', 'u32', 'ptr', 'u32'], returns: 'i32' },
  edge_ring_cancel: { args: ['ptr', 'u32'], returns: 'i32' },
  edge_ring_post: { args: ['ptr', 'u32', 'u32', 'u32', 'u32', 'u32', 'u32', 'u32'], returns: 'i32' },
  edge_ring_withdraw: { args: ['ptr', 'u32', 'u32'], returns: 'i32' },
  edge_ring_drain: { args: ['ptr', 'u32'], returns: 'u32' },
  edge_ring_taken: { args: ['ptr'], returns: 'ptr' },
  edge_ring_look: { args: ['ptr', 'u32', 'u32'], returns: 'u32' },
  edge_ring_release: { args: ['ptr', 'u32', 'u32'], returns: 'i32' },
  edge_ring_free: { args: ['ptr', 'u32'], returns: 'void' },
  edge_ring_hints: { args: ['ptr', 'u32'], returns: 'u32' },
} as const;

/** libedge_engine.so, the engine process; only the engine role loads it. */
export const ENGINE_SYMBOLS = {
  edge_engine_wasmedge_version: { args: [], returns: 'cstring' },
  edge_engine_serve: {
    args: ['u32', 'i32', 'i32', 'ptr', 'u32', 'u32', 'u32', 'u32', 'u32', 'u32'],
    returns: 'i32',
  },
} as const;
