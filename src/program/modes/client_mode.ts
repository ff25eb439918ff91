// The commands that talk to a control plane: finds the connection, then runs the command.
import { createId, randomFraction } from '../../base/id.ts';
import { type Api, createApi } from '../../cli/api.ts';
import { deploy, type DeploySettings, planDeploy, printDeployed } from '../../cli/deployments/deploy.ts';
import * as deployments from '../../cli/deployments/deployments.ts';
import * as manage from '../../cli/manage.ts';
import { readModule } from '../../cli/module_file.ts';
import * as nodes from '../../cli/nodes.ts';
import { type Connection, profilePaths, resolveConnection } from '../../cli/profile.ts';
import { configHome } from '../../config/directories.ts';
import type { ClientCommand } from '../../config/row.ts';
import type { ChosenClientCommand, Context } from './context.ts';

type ManageCommand = Exclude<ClientCommand, 'deploy'>;

const MANAGE: Record<ManageCommand, (input: manage.ManageInput) => Promise<void>> = {
  functions: manage.showFunctions,
  versions: manage.showVersions,
  inspect: manage.inspect,
  routes: manage.showRoutes,
  nodes: nodes.showNodes,
  node: nodes.changeNode,
  'join-token': nodes.makeJoinToken,
  status: deployments.showStatus,
  deployments: deployments.manageDeployments,
  rollback: deployments.rollBack,
  undeploy: deployments.undeploy,
  delete: manage.deleteFunction,
};

export async function runClientMode(chosen: ChosenClientCommand, context: Context): Promise<number> {
  const { terminal, clock } = context;
  const { settings, words } = chosen;
  const { url, token } = settings;
  const edgeUrl = 'edgeUrl' in settings ? settings.edgeUrl : null;
  const paths = profilePaths({ dataDir: settings.dataDir, configHome: configHome(context.env) });
  const api = createRemoteApi(resolveConnection({ url, token, edgeUrl, paths }), context);
  if (chosen.command === 'deploy') return runDeploy(words[0] ?? '', chosen.settings, { api, context });
  await MANAGE[chosen.command]({
    api,
    terminal,
    clock,
    json: settings.json,
    project: 'project' in settings ? settings.project : null,
    name: words[0] ?? '',
    version: words[1] ?? null,
    words: words.slice(2),
    from: 'from' in settings ? settings.from : null,
    label: 'label' in settings ? settings.label : {},
    selector: 'selector' in settings ? settings.selector : null,
    pop: 'pop' in settings ? settings.pop : [],
    tokenNode: 'tokenNode' in settings ? settings.tokenNode : null,
    waitSecs: 'waitSecs' in settings ? settings.waitSecs : 0,
  });
  return 0;
}

async function runDeploy(
  file: string,
  settings: DeploySettings & { json: boolean; plan: boolean },
  { api, context }: { api: Api; context: Context },
): Promise<number> {
  const { terminal, clock } = context;
  const bytes = await readModule(file);
  if (settings.plan) {
    const planned = await planDeploy({ file, bytes }, settings, { api });
    if (settings.json) terminal.printJson(planned);
    else deployments.printPlan(terminal, planned);
    return 0;
  }
  const deployed = await deploy({ file, bytes }, settings, { api, terminal, clock });
  if (settings.json) terminal.printJson(deployed);
  else printDeployed(terminal, deployed);
  return 0;
}

function createRemoteApi(connection: Connection, { clock, random }: Context): Api {
  return createApi({
    connection,
    fetch: (url, init) => fetch(url, init),
    clock,
    random: () => randomFraction(random),
    commandKey: createId('cli', clock.nowMs(), random),
  });
}
