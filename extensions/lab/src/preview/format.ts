import { Page, Part, Place, Sheet } from './sheet';
import { Source } from './source';

/** One kind of object: what a module in `formats/` exports. */
export interface Format {
  /** Read as much as a preview needs; rejects with `Unreadable` in words. */
  read(source: Source): Promise<Sheet>;
  /** Show one of the nodes that the sheet offered. */
  open?(source: Source, what: string): Promise<Part[]>;
  /** Show another window of the sheet's table, from this place on. */
  page?(source: Source, place: Place): Promise<Page>;
}
