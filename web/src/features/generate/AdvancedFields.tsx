/** Settings that most users leave at their defaults. */
import type { ModelView, SettingsView } from '../../api/schema';
import { Field } from '../../ui/Field';
import { Icon } from '../../ui/Icon';
import type { Draft } from './draft';
import type { FormErrors } from './request';

interface Props {
  draft: Draft;
  models: ModelView[];
  settings: SettingsView;
  errors: FormErrors;
  change: (part: Partial<Draft>) => void;
}

const FIELDS = ['steps', 'guidance', 'negative', 'trueGuidance', 'deadlineMin', 'stepCache', 'similar', 'model'] as const;

function NumberField({ label, hint, field, placeholder, ...props }: Props & { label: string; hint: string; field: 'steps' | 'guidance' | 'trueGuidance' | 'deadlineMin'; placeholder?: string }) {
  return (
    <Field label={label} hint={hint} error={props.errors[field]}>
      {(control) => (
        <input
          {...control}
          className="input num"
          inputMode="decimal"
          autoComplete="off"
          placeholder={placeholder}
          value={props.draft[field]}
          onChange={(event) => props.change({ [field]: event.target.value })}
        />
      )}
    </Field>
  );
}

export function AdvancedFields(props: Props) {
  const { draft, models, settings, errors, change } = props;
  const isWrong = FIELDS.some((field) => errors[field]);
  return (
    <details className="group rounded-lg border border-line" open={isWrong || undefined}>
      <summary className="flex list-none items-center justify-between rounded-lg px-3 py-2 text-sm font-medium hover:bg-raised">
        Advanced
        <Icon name="chevron" className="size-4 text-muted transition-transform group-open:rotate-180" />
      </summary>
      <div className="grid grid-cols-2 gap-3.5 border-t border-line p-3">
        {models.length > 1 && (
          <Field label="Model" error={errors.model} className="col-span-2">
            {(control) => (
              <select {...control} className="input" value={draft.model} onChange={(event) => change({ model: event.target.value })}>
                <option value="">Default model</option>
                {models.map((model) => (
                  <option key={model.id} value={model.id}>
                    {model.name} ({model.workers} {model.workers === 1 ? 'worker' : 'workers'})
                  </option>
                ))}
              </select>
            )}
          </Field>
        )}
        <NumberField {...props} field="steps" label="Steps" hint="Overrides the tier" placeholder={settings.adaptive_enabled ? 'adaptive' : 'set by tier'} />
        <NumberField {...props} field="guidance" label="Guidance" hint="How closely to follow the prompt" />
        <Field label="Step cache" hint="Skips steps that change little" error={errors.stepCache}>
          {(control) => (
            <select {...control} className="input" value={draft.stepCache} onChange={(event) => change({ stepCache: event.target.value as Draft['stepCache'] })}>
              <option value="">Tier default</option>
              <option value="off">Off (compute every step)</option>
              <option value="balanced">Balanced</option>
              <option value="fast">Fast</option>
            </select>
          )}
        </Field>
        <Field label="Similar prompts" hint="Reuses their embeddings; changes the video" error={errors.similar}>
          {(control) => (
            <select {...control} className="input" value={draft.similar} onChange={(event) => change({ similar: event.target.value as Draft['similar'] })}>
              <option value="">Fleet default ({settings.similar_prompts_default ? 'on' : 'off'})</option>
              <option value="yes">Allowed</option>
              <option value="no">Not allowed</option>
            </select>
          )}
        </Field>
        <Field label="Negative prompt" hint="What to avoid. Needs true guidance above 1." error={errors.negative} className="col-span-2">
          {(control) => (
            <input {...control} className="input" value={draft.negative} onChange={(event) => change({ negative: event.target.value })} />
          )}
        </Field>
        <NumberField {...props} field="trueGuidance" label="True guidance" hint="Above 1 doubles the cost" />
        <NumberField {...props} field="deadlineMin" label="Deadline" hint="In minutes. Affects the queue order." placeholder="none" />
        <label className="col-span-2 flex items-start gap-2 text-sm">
          <input
            type="checkbox"
            className="mt-1 accent-accent"
            checked={draft.flowReverse}
            onChange={(event) => change({ flowReverse: event.target.checked })}
          />
          <span>
            Reverse flow <span className="hint block">From noise to video, as the model was trained. Turn off only for experiments.</span>
          </span>
        </label>
      </div>
    </details>
  );
}
