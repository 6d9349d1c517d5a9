/** What the storage service sends and takes, by the names that it has here. */

import { components } from '../gateway/generated/storage';

type Models = components['schemas'];

export type Me = Models['Me'];
export type Usage = Models['Usage'];
export type Bucket = Models['Bucket'];
export type Entry = Models['Entry'];
export type Page = Models['Page'];
export type Head = Models['Head'];
export type Version = Models['VersionEntry'];
export type VersionsPage = Models['Versions'];
export type Count = Models['Count'];
/** Some keys, or all under some prefixes, of one bucket. */
export type Selection = Required<Models['Selection']>;
export type NewTask = Models['NewTask'];
export type TaskKind = NewTask['kind'];
export type Task = Models['TaskAnswer'];
export type TaskPage = Models['TaskList'];
/** A URL that lets its bearer do one thing until it expires. */
export type SignedUrl = Models['Url'];
export type UploadStart = Models['UploadStart'];
export type Part = Models['PartFact'];
export type Unfinished = Models['UploadFact'];
export type UnfinishedPage = Models['UploadList'];
export type Share = Models['ShareFact'];
export type NewShare = Models['NewShare'];
export type Link = Models['LinkFact'];
export type Grant = Models['GrantModel'];
/** Keys that were given to a program, without the keys. */
export type Credential = Models['CredentialFact'];
/** One thing that somebody did; `detail` is JSON. */
export type AuditEntry = Models['AuditFact'];
export type AuditPage = Models['AuditList'];
