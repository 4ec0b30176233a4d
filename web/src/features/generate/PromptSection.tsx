/** The prompt or prompts, their length limits, and the analysis. */
import type { AnalyzeView, ModelView, SettingsView } from '../../api/schema';
import { Field } from '../../ui/Field';
import { Segmented } from '../../ui/Segmented';
import { AnalysisPanel } from './AnalysisPanel';
import type { Draft } from './draft';
import { Examples } from './Examples';
import { PromptField } from './PromptField';
import { type FormErrors, prompts } from './request';

interface Props {
  draft: Draft;
  model: ModelView;
  settings: SettingsView;
  errors: FormErrors;
  change: (part: Partial<Draft>) => void;
  analysis: { data: AnalyzeView | undefined; isLoading: boolean; error: Error | null; which: string | null };
  onCaret: (at: number) => void;
  onSubmit: () => void;
}

/** The length of a single prompt, or the number of prompts, with the limit. */
function amountText({ text, isSeveral }: Draft, { prompt_chars_max, batch_max }: SettingsView['limits']): string {
  if (isSeveral) return `${prompts({ text, isSeveral }).length} / ${batch_max} prompts`;
  return `${Array.from(text).length} / ${prompt_chars_max}`;
}

export function PromptSection({ draft, model, settings, errors, change, analysis, onCaret, onSubmit }: Props) {
  const pick = (example: string) => {
    const text = draft.isSeveral && draft.text.trim() ? `${draft.text.trimEnd()}\n${example}` : example;
    change({ text });
    onCaret(text.length);
  };
  return (
    <div className="space-y-3">
      <div className="flex flex-wrap items-center justify-between gap-2">
        <h1 className="text-lg font-semibold tracking-tight">New video</h1>
        <Segmented
          legend="Prompts"
          hideLegend
          options={[
            { value: 'one', label: 'Single prompt' },
            { value: 'several', label: 'One per line', title: 'Each line becomes a separate video' },
          ]}
          value={draft.isSeveral ? 'several' : 'one'}
          onChange={(value) => change({ isSeveral: value === 'several' })}
        />
      </div>
      <Field
        label={draft.isSeveral ? 'Prompts, one per line' : 'Prompt'}
        error={errors.text}
        aside={<span className="num hint">{amountText(draft, settings.limits)}</span>}
      >
        {(control) => (
          <PromptField
            control={control}
            value={draft.text}
            rows={draft.isSeveral ? 6 : 3}
            placeholder={model.examples[0] ? `For example: ${model.examples[0]}` : 'What should the video show?'}
            factors={analysis.data?.analysis.factors ?? []}
            onChange={(text) => change({ text })}
            onCaret={onCaret}
            onSubmit={onSubmit}
          />
        )}
      </Field>
      <AnalysisPanel answer={analysis.data} isLoading={analysis.isLoading} error={analysis.error?.message} which={analysis.which} />
      <Examples model={model} isOpen={draft.text.trim() === ''} onPick={pick} />
    </div>
  );
}
