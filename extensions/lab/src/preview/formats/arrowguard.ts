import { DictionaryBatch } from 'apache-arrow/fb/dictionary-batch';
import { Field } from 'apache-arrow/fb/field';
import { KeyValue } from 'apache-arrow/fb/key-value';
import { Message } from 'apache-arrow/fb/message';
import { MessageHeader } from 'apache-arrow/fb/message-header';
import { RecordBatch } from 'apache-arrow/fb/record-batch';
import { Schema } from 'apache-arrow/fb/schema';
import { ByteBuffer, Encoding } from 'flatbuffers';

import { Unreadable } from '../sheet';

const DEEPEST = 64;

/**
 * Refuse a message that claims more than its bytes can hold. The library goes through
 * lists as long as they say they are, and parts of a message may be used many times.
 */
export function judgeMessage(data: Uint8Array): void {
  const message = Message.getRootAsMessage(new ByteBuffer(data));
  const budget = new Budget(data.length);
  budget.texts(message);
  const type = message.headerType();
  if (type === MessageHeader.Schema) {
    const schema: Schema | null = message.header(new Schema());
    budget.texts(schema);
    fields(schema?.fieldsLength() ?? 0, index => schema!.fields(index), budget, DEEPEST);
  } else if (type === MessageHeader.RecordBatch) {
    batch(message.header(new RecordBatch()) as RecordBatch | null, budget);
  } else if (type === MessageHeader.DictionaryBatch) {
    batch((message.header(new DictionaryBatch()) as DictionaryBatch | null)?.data() ?? null, budget);
  }
}

function batch(found: RecordBatch | null, budget: Budget): void {
  budget.spend(found?.nodesLength() ?? 0);
  budget.spend(found?.buffersLength() ?? 0);
  budget.spend(found?.variadicBufferCountsLength() ?? 0);
}

function fields(count: number, get: (index: number) => Field | null, budget: Budget, depth: number): void {
  budget.spend(depth === 0 ? Infinity : count);
  for (let index = 0; index < count; index += 1) {
    const field = get(index);
    if (field !== null) {
      budget.spend(field.name(Encoding.UTF8_BYTES)?.length ?? 0);
      budget.texts(field);
      fields(field.childrenLength(), inner => field.children(inner), budget, depth - 1);
    }
  }
}

interface Told {
  customMetadataLength(): number;
  customMetadata(index: number): KeyValue | null;
}

/** How many entries and bytes of texts there can be, if none is used twice. */
class Budget {
  constructor(private left: number) {}

  spend(count: number): void {
    this.left -= count;
    if (!(count >= 0) || !(this.left >= 0)) {
      throw new Unreadable('A message of it claims more than it has room for: it is damaged.');
    }
  }

  texts(told: Told | null): void {
    const count = told?.customMetadataLength() ?? 0;
    this.spend(count);
    for (let index = 0; index < count; index += 1) {
      const entry = told!.customMetadata(index);
      this.spend(entry?.key(Encoding.UTF8_BYTES)?.length ?? 0);
      this.spend(entry?.value(Encoding.UTF8_BYTES)?.length ?? 0);
    }
  }
}
