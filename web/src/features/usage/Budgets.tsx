/** Budgets, with what has been used of them. Shown only if there are any. */
import { useQuery } from '@tanstack/react-query';
import { getBudgets } from '../../api/usage';
import type { BudgetView } from '../../api/schema';
import { duration, usd } from '../../lib/format';
import { keys } from '../../lib/keys';
import { Chip, type Tone } from '../../ui/Chip';

const EVERY_MS = 30_000;
const looks: Record<string, { tone: Tone; text: string; bar: string }> = {
  ok: { tone: 'good', text: 'Within budget', bar: 'bg-good' },
  warning: { tone: 'wait', text: 'Nearly used up', bar: 'bg-wait' },
  spent: { tone: 'bad', text: 'Used up', bar: 'bg-bad' },
};

export function Budgets() {
  const budgets = useQuery({ queryKey: keys.budgets, queryFn: ({ signal }) => getBudgets(signal), refetchInterval: EVERY_MS }).data?.budgets;
  if (!budgets?.length) return null;
  return (
    <section aria-labelledby="budgets">
      <h2 id="budgets" className="mb-3 text-base font-semibold tracking-tight">
        Budgets
      </h2>
      <ul className="grid gap-3 md:grid-cols-2 xl:grid-cols-3">
        {budgets.map((budget) => (
          <li key={budget.budget_id} className="card p-4">
            <Budget budget={budget} />
          </li>
        ))}
      </ul>
    </section>
  );
}

function Budget({ budget }: { budget: BudgetView }) {
  const amount = (value: number) => (budget.unit === 'usd' ? usd(value) : duration(value));
  const look = looks[budget.state] ?? { tone: 'plain' as const, text: budget.state, bar: 'bg-accent' };
  const share = Math.min(budget.used / budget.amount, 1);
  return (
    <>
      <div className="flex flex-wrap items-center gap-2">
        <h3 className="min-w-0 truncate font-semibold">{budget.tenant}</h3>
        <Chip tone={look.tone}>{look.text}</Chip>
      </div>
      <p className="num mt-1 text-sm">
        {amount(budget.used)} of {amount(budget.amount)} per {budget.period}
      </p>
      <div className="mt-2 h-2 overflow-hidden rounded-full bg-raised" aria-hidden="true">
        <div className={`h-full ${look.bar}`} style={{ width: `${share * 100}%` }} />
      </div>
      <p className="hint mt-2">
        {budget.stops ? 'New videos are refused once the budget is used up.' : 'The budget only warns.'} It renews on {new Date(budget.renews_at).toLocaleString()}.
      </p>
    </>
  );
}
