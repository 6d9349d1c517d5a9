import { Version, VersionsPage } from '../types';

/** What the window "Details" makes of the service's answers. */

export const MOST_TAGS = 10;

/** A tag as it is being written. */
export interface TagRow {
  name: string;
  value: string;
}

export function tagRows(tags: Record<string, string>): TagRow[] {
  return Object.entries(tags).map(([name, value]) => ({ name, value }));
}

/** The tags that these rows say, and what is wrong with them; rows without words are none. */
export function tagsOf(rows: TagRow[]): { tags: Record<string, string>; problem: string } {
  const said = rows.filter(row => row.name !== '' || row.value !== '');
  const names = said.map(row => row.name);
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  let problem = '';
  if (names.includes('')) {
    problem = 'Each tag needs a name.';
  } else if (twice !== undefined) {
    problem = `There are two tags ${twice}.`;
  }
  return { tags: Object.fromEntries(said.map(row => [row.name, row.value])), problem };
}

export function sameTags(one: Record<string, string>, other: Record<string, string>): boolean {
  const sorted = (tags: Record<string, string>) => JSON.stringify(Object.entries(tags).sort());
  return sorted(one) === sorted(other);
}

/** The versions of `key` in a page of all keys that begin so, and whether more may follow. */
export function versionsOf(page: VersionsPage, key: string): { versions: Version[]; more: boolean } {
  const last = page.versions[page.versions.length - 1];
  return {
    versions: page.versions.filter(one => one.key === key),
    more: page.next !== null && last?.key === key
  };
}
