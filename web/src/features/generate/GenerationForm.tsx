/**
 * The form for a new video: the prompt with its analysis, the tier, the shape, and everything else under Advanced.
 *
 * The draft is the only state; requests, validation and estimates are all derived from it.
 */
import { useIsMutating, useQuery } from '@tanstack/react-query';
import { useEffect, useRef, useState } from 'react';
import { ApiError } from '../../api/client';
import { getModels } from '../../api/getModels';
import { getSettings } from '../../api/getSettings';
import type { ModelView, SettingsView } from '../../api/schema';
import { keys } from '../../lib/keys';
import { onRemix } from '../../lib/remix';
import { onSuggest } from '../../lib/suggest';
import { Button } from '../../ui/Button';
import { Notice } from '../../ui/Notice';
import { Skeleton } from '../../ui/Skeleton';
import { toast } from '../../ui/toast';
import { AdvancedFields } from './AdvancedFields';
import { type Draft, draftOf, fitted, loadDraft, saveDraft } from './draft';
import { takesImage } from './image';
import { ImagePicker } from './ImagePicker';
import { LoraPicker } from './LoraPicker';
import { PromptSection } from './PromptSection';
import { check, type FormErrors, fromApi, prompts } from './request';
import { SeedField } from './SeedField';
import { ShapeFields } from './ShapeFields';
import { SubmitBar } from './SubmitBar';
import { TierSelector } from './TierSelector';
import { useAnalysis } from './useAnalysis';
import { useSubmit } from './useSubmit';

/** Loads the settings and models that the form needs. */
export function GenerationForm() {
  const settings = useQuery({ queryKey: keys.settings, queryFn: ({ signal }) => getSettings(signal), staleTime: 60_000 });
  const models = useQuery({ queryKey: keys.models, queryFn: ({ signal }) => getModels(signal), refetchInterval: 15_000 });
  const error = settings.error ?? models.error;
  const fallback = models.data?.models.find((model) => model.default) ?? models.data?.models[0];
  if (settings.data && models.data && fallback) {
    return <Form settings={settings.data} models={models.data.models} fallback={fallback} />;
  }
  return (
    <section className="card space-y-4 p-5" aria-label="New video" aria-busy={!error}>
      {error || models.data ? (
        <Notice tone="bad" title="Could not load the form" action={<Button icon="retry" onClick={() => void Promise.all([settings.refetch(), models.refetch()])}>Try again</Button>}>
          {error?.message ?? 'This fleet has no model. Add a model folder to models.dirs and restart the API.'}
        </Notice>
      ) : (
        ['h-5 w-28', 'h-28', 'h-16', 'h-44', 'h-20', 'h-10'].map((size) => <Skeleton key={size} className={size} />)
      )}
    </section>
  );
}

/** Focuses the first invalid field. */
function focusFirstWrong(form: HTMLFormElement | null): void {
  requestAnimationFrame(() => form?.querySelector<HTMLElement>('[aria-invalid="true"]')?.focus());
}

function Form({ settings, models, fallback }: { settings: SettingsView; models: ModelView[]; fallback: ModelView }) {
  const [kept, setDraft] = useState<Draft>(loadDraft);
  const [caret, setCaret] = useState(0);
  const [isChecked, setIsChecked] = useState(false);
  const [refused, setRefused] = useState<FormErrors>({});
  const form = useRef<HTMLFormElement>(null);
  const submit = useSubmit();

  const model = models.find((each) => each.id === kept.model) ?? fallback;
  const draft = fitted(model.id === kept.model ? kept : { ...kept, model: '' }, model);
  const wrong = check(draft, { limits: settings.limits, model });
  const errors: FormErrors = isChecked ? { ...refused, ...wrong } : refused;
  const isReady = Object.keys(wrong).every((field) => field === 'text' || field === 'image');
  // The draft has the previous picture until the new one is uploaded.
  const isUploading = useIsMutating({ mutationKey: keys.imageUpload }) > 0 && takesImage(model);
  const { which, ...analysis } = useAnalysis(draft, caret, isReady);

  useEffect(() => saveDraft(kept), [kept]);
  useEffect(
    () =>
      onRemix((job) => {
        setDraft(draftOf(job));
        setRefused({});
        setIsChecked(false);
        form.current?.scrollIntoView({ block: 'start' });
        form.current?.querySelector('textarea')?.focus({ preventScroll: true });
        toast('Settings and seed copied to the form.');
      }),
    [],
  );

  useEffect(
    () =>
      onSuggest(({ prompt, seed }) => {
        change({ text: prompt, isSeveral: false, seed: String(seed) });
        setCaret(prompt.length);
        form.current?.scrollIntoView({ block: 'start' });
        form.current?.querySelector('textarea')?.focus({ preventScroll: true });
      }),
    [],
  );

  const change = (part: Partial<Draft>) => {
    setDraft((now) => ({ ...now, ...part }));
    // Editing a field clears the error that the API reported for it.
    setRefused((now) => Object.fromEntries(Object.entries(now).filter(([field]) => !(field in part) && field !== 'form')));
  };

  const send = () => {
    if (submit.isPending || isUploading) return;
    setIsChecked(true);
    if (Object.keys(wrong).length > 0) return focusFirstWrong(form.current);
    setRefused({});
    submit.mutate(draft, {
      onSuccess: (jobs) => {
        setIsChecked(false);
        toast(jobs.length === 1 ? 'Video queued.' : `${jobs.length} videos queued.`);
      },
      onError: (error) => {
        const fields = error instanceof ApiError ? fromApi(error.fields) : {};
        setRefused(Object.keys(fields).length > 0 ? fields : { form: error.message });
        focusFirstWrong(form.current);
      },
    });
  };

  return (
    <form
      ref={form}
      aria-label="New video"
      noValidate
      className="card scroll-mt-4 lg:sticky lg:top-4"
      onSubmit={(event) => {
        event.preventDefault();
        send();
      }}
    >
      <div className="space-y-5 p-4 sm:p-5 lg:max-h-[calc(100dvh-6.5rem)] lg:overflow-y-auto">
        <PromptSection
          draft={draft}
          model={model}
          settings={settings}
          errors={errors}
          change={change}
          analysis={{ ...analysis, which }}
          onCaret={setCaret}
          onSubmit={send}
        />
        <ImagePicker draft={draft} model={model} error={errors.image} change={change} />
        <TierSelector draft={draft} onChange={(tier) => change({ tier })} />
        <ShapeFields draft={draft} model={model} errors={errors} change={change} />
        <SeedField value={draft.seed} error={errors.seed} change={change} />
        <LoraPicker model={model.id} chosen={draft.loras} error={errors.loras} change={change} />
        <AdvancedFields draft={draft} models={models} settings={settings} errors={errors} change={change} />
      </div>
      <SubmitBar
        amount={prompts(draft).length}
        answer={analysis.data}
        isPending={submit.isPending}
        isUploading={isUploading}
        error={errors.form}
        workers={model.workers}
      />
    </form>
  );
}
