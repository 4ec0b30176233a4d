/**
 * Judges rendered manifests: Kubernetes' own objects by the JSON schemas of a release, in which unknown fields are errors,
 * those of KEDA and the Prometheus operator by the schemas of their resource definitions.
 *
 *   node validate.mjs SCHEMAS.json FILE...
 *
 * Prints one JSON object: file -> {errors: [text], objects: [every manifest]}.
 */
import { readFileSync } from 'node:fs';
import { Ajv2020 as Ajv } from 'ajv/dist/2020.js';
import { parseAllDocuments } from 'yaml';

const CUSTOM = {
  'keda.sh/v1alpha1': '@kubernetes-models/keda/keda.sh/v1alpha1',
  'monitoring.coreos.com/v1': '@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1',
};
const [schemaFile, ...files] = process.argv.slice(2);
const release = JSON.parse(readFileSync(schemaFile, 'utf8'));
const ajv = new Ajv({ strict: false, allErrors: true, validateFormats: false, schemas: [release] });

/** Schema of each kind: "apps/v1 Deployment" -> name of its definition. */
const kinds = new Map();
for (const [name, { properties }] of Object.entries(release.$defs)) {
  for (const version of properties?.apiVersion?.enum ?? []) {
    for (const kind of properties.kind?.enum ?? []) kinds.set(`${version} ${kind}`, name);
  }
}

async function complaints(object) {
  const folder = CUSTOM[object.apiVersion];
  if (folder) {
    try {
      const { [object.kind]: Model } = await import(`${folder}/${object.kind}`);
      new Model(object).validate();
      return [];
    } catch (error) {
      return [error.message];
    }
  }
  const name = kinds.get(`${object.apiVersion} ${object.kind}`);
  if (!name) return [`there is no ${object.kind} in ${object.apiVersion}`];
  const validate = ajv.getSchema(`${release.$id}#/$defs/${name}`);
  if (validate(object)) return [];
  return validate.errors.map((e) => `${e.instancePath || '/'} ${e.message} ${JSON.stringify(e.params)}`);
}

const found = {};
for (const file of files) {
  const errors = [];
  const objects = [];
  for (const document of parseAllDocuments(readFileSync(file, 'utf8'), { uniqueKeys: true })) {
    errors.push(...document.errors.map((error) => error.message));
    const object = document.toJS();
    if (!object) continue;
    objects.push(object);
    const where = `${object.kind} ${object.metadata?.name}`;
    errors.push(...(await complaints(object)).map((text) => `${where}: ${text}`));
  }
  found[file] = { errors, objects };
}
console.log(JSON.stringify(found));
