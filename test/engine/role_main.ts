// The engine role alone, as a program of its own for the tests of the engine.
import { runEngineRole } from '../../src/engine/process/role.ts';
import { decodeRoleInput } from '../../src/engine/process/role_input.ts';

process.exit(runEngineRole(decodeRoleInput(process.env['EDGE_ENGINE'] ?? '')));
