// The commands that talk to a control plane: finds out whom to talk to, then runs the one that was chosen.
import { isAbsolute, join } from 'node:path';
import { createId, randomFraction } from '../../base/id.ts';
import { createApi, type Api } from '../../cli/api.ts';
import { deploy, printDeployed, type DeploySettings } from '../../cli/deploy.ts';
import * as manage from '../../cli/manage.ts';
import { readModule } from '../../cli/module_file.ts';
import { type Connection, profilePaths, resolveConnection } from '../../cli/profile.ts';
import type { Environment } from '../../config/inputs.ts';
import type { ClientCommand } from '../../config/row.ts';
import type { ClientChoice, Context } from './context.ts';

type ManageCommand = Exclude<ClientCommand, 'deploy'>;

const MANAGE: Record<ManageCommand, (input: manage.ManageInput) => Promise<void>> = {
  functions: manage.showFunctions,
  versions: manage.showVersions,
  inspect: manage.inspect,
  routes: manage.showRoutes,
  nodes: manage.showNodes,
  'join-token': manage.makeJoinToken,
  status: manage.showStatus,
  rollback: manage.rollBack,
  undeploy: manage.undeploy,
  delete: manage.deleteFunction,
};

export async function runClient(chosen: ClientChoice, context: Context): Promise<number> {
  const { terminal, clock } = context;
  const { settings, words } = chosen;
  const edgeUrl = 'edgeUrl' in settings ? settings.edgeUrl : null;
  const paths = profilePaths({ dataDir: settings.dataDir, configHome: configHomeOf(context.env) });
  const api = openApi(
    resolveConnection({ url: settings.url, token: settings.token, edgeUrl, paths }),
    context,
  );
  if (chosen.command === 'deploy') return runDeploy(words[0] ?? '', chosen.settings, { api, context });
  await MANAGE[chosen.command]({
    api,
    terminal,
    clock,
    json: settings.json,
    project: 'project' in settings ? settings.project : null,
    name: words[0] ?? '',
    version: words[1] ?? null,
    waitSecs: 'waitSecs' in settings ? settings.waitSecs : 0,
  });
  return 0;
}

async function runDeploy(
  file: string,
  settings: DeploySettings & { json: boolean },
  { api, context }: { api: Api; context: Context },
): Promise<number> {
  const { terminal, clock } = context;
  const bytes = await readModule(file);
  const deployed = await deploy({ file, bytes }, settings, { api, terminal, clock });
  if (settings.json) terminal.printJson(deployed);
  else printDeployed(terminal, deployed);
  return 0;
}

function openApi(connection: Connection, { clock, random }: Context): Api {
  return createApi({
    connection,
    fetch: (url, init) => fetch(url, init),
    clock,
    random: () => randomFraction(random),
    createKey: () => createId('cli', clock.nowMs(), random),
  });
}

/** XDG Base Directory Specification: a relative value is as good as none. */
function configHomeOf(env: Environment): string | null {
  const { XDG_CONFIG_HOME: given = '', HOME: home = '' } = env;
  if (isAbsolute(given)) return given;
  return isAbsolute(home) ? join(home, '.config') : null;
}
