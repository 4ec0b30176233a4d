/** The form on the left, the videos on the right; stacked on a phone. */
import { GenerationForm } from '../features/generate/GenerationForm';
import { JobsPanel } from '../features/jobs/JobsPanel';

export function CreatePage() {
  return (
    <div className="grid items-start gap-5 lg:grid-cols-[minmax(22rem,27rem)_minmax(0,1fr)] lg:gap-6">
      <GenerationForm />
      <JobsPanel />
    </div>
  );
}
