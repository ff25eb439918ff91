// Holds the repository to its rules; a failure says what to do instead.
import { describe, expect, test } from 'bun:test';
import packageJson from '../package.json';
import { CONTROL_ERRORS, EDGE_ERRORS, ERRORS, GUEST_ERRORS, MODULE_ERRORS } from '../src/base/errors.ts';
import { cyclesRule } from './tidy/cycles.ts';
import { exportsRule } from './tidy/exports.ts';
import { floorsRule } from './tidy/floors.ts';
import { errorTableFindings, hostsRule, topLevelFindings, untestedCodes } from './tidy/layout.ts';
import { nativeLengthsRule } from './tidy/native.ts';
import { packagesRule } from './tidy/packages.ts';
import { type Finding, type Rule, readRepository } from './tidy/repository.ts';
import { arrowsRule, doorsRule, foldersRule, guidesRule } from './tidy/rooms.ts';
import { bansRule, captionsRule, namesRule, purityRule, stateRule } from './tidy/style.ts';
import { createScan } from './tidy/tokens.ts';

const { paths, files } = readRepository();
const scan = createScan();
const manifest = {
  dependencies: Object.keys(packageJson.dependencies),
  devDependencies: Object.keys(packageJson.devDependencies),
};

function lines(findings: readonly Finding[]): string[] {
  return findings.map(({ path, line, sentence }) => `${path}:${line}: ${sentence}`).toSorted();
}

const RULES: Record<string, Rule> = {
  'imports go down, never up or sideways': floorsRule(scan),
  'a room is entered through its doors': doorsRule(scan),
  'every room has a door and at most a short guide': guidesRule,
  'a folder of src/ holds few files': foldersRule,
  'the rooms of edge/ and engine/ have few arrows': arrowsRule(scan),
  'imports make no cycle, types included': cyclesRule(scan),
  'packages are used at home only': packagesRule(scan, manifest),
  'every export is imported by another file': exportsRule(scan),
  'C files, functions and lines keep their length': nativeLengthsRule,
  'time, chance, environment and output stay in their homes': bansRule(scan),
  'model/ is pure': purityRule(scan),
  'every file opens with a sentence in one line': captionsRule,
  'every file has a name that says something': namesRule,
  'no state stands at module level': stateRule(scan),
  'no package host and no path of one machine is named': hostsRule,
};

describe('The repository', () => {
  test.each(Object.entries(RULES))('%s', (_, rule) => {
    expect(lines(rule(files))).toEqual([]);
  });

  test('has nothing at its top that is not on the list', () => {
    expect(lines(topLevelFindings(paths))).toEqual([]);
  });

  test('has all its files in view', () => {
    expect(files.length).toBeGreaterThan(20);
    expect(paths).toContain('src/base/errors.ts');
  });
});

describe('The error table', () => {
  test('has a test for every code', () => {
    expect(lines(untestedCodes(Object.keys(ERRORS), files))).toEqual([]);
  });

  test('gives each part its statuses, each code one meaning, and each message a sentence', () => {
    const parts = [
      { name: 'a refused module', statuses: [422], entries: MODULE_ERRORS },
      { name: 'a fault of a guest', statuses: [500, 504], entries: GUEST_ERRORS },
      { name: 'an edge', statuses: [400, 404, 405, 408, 413, 414, 429, 431, 503], entries: EDGE_ERRORS },
      {
        name: 'the API',
        statuses: [400, 401, 403, 404, 409, 413, 422, 429, 500, 503, 507],
        entries: CONTROL_ERRORS,
      },
    ];
    expect(lines(errorTableFindings(parts))).toEqual([]);
  });
});
