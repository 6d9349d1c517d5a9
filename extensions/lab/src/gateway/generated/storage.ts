// Made by "npm run rest" from docs/reference/storage.openapi.json.

export interface paths {
  '/me': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    /**
     * Who asks, and what there is for them.
     * @description Needs the scope `custom:storage:read`.
     */
    get: operations['show_me'];
    put?: never;
    post?: never;
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/buckets': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    /**
     * All that the caller may use, with what it held when last measured.
     * @description Needs the scope `custom:storage:read`.
     */
    get: operations['list_buckets'];
    put?: never;
    /**
     * Create one more bucket of the caller's own.
     * @description Needs the scope `custom:storage:write`.
     */
    post: operations['create_bucket'];
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/buckets/{bucket}': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    get?: never;
    put?: never;
    post?: never;
    /**
     * Delete an empty bucket that the caller created.
     * @description Needs the scope `custom:storage:write`.
     */
    delete: operations['delete_bucket'];
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/buckets/{bucket}/usage': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    /**
     * What a bucket holds: as measured lately, or measured now.
     * @description Needs the scope `custom:storage:read`.
     */
    get: operations['measure_bucket'];
    put?: never;
    post?: never;
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/objects': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    /**
     * One page of a bucket's objects and "folders".
     * @description Needs the scope `custom:storage:read`.
     */
    get: operations['list_objects'];
    put?: never;
    post?: never;
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/objects/head': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    /**
     * The facts of one object.
     * @description Needs the scope `custom:storage:read`.
     */
    get: operations['head_object'];
    put?: never;
    post?: never;
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/objects/versions': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    /**
     * One page of the versions under a prefix.
     * @description Needs the scope `custom:storage:read`.
     */
    get: operations['list_versions'];
    put?: never;
    post?: never;
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/objects/tags': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    /**
     * The tags of an object.
     * @description Needs the scope `custom:storage:read`.
     */
    get: operations['show_tags'];
    /**
     * Give an object these tags and no others.
     * @description Needs the scope `custom:storage:write`.
     */
    put: operations['set_tags'];
    post?: never;
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/objects/restore': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    get?: never;
    put?: never;
    /**
     * Make an earlier version of an object the current one again.
     * @description Needs the scope `custom:storage:write`.
     */
    post: operations['restore_object'];
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/objects/count': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    get?: never;
    put?: never;
    /**
     * What a selection holds: the dry run of a deletion or copy.
     * @description Needs the scope `custom:storage:read`.
     */
    post: operations['count_objects'];
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/objects/delete': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    get?: never;
    put?: never;
    /**
     * Delete up to 1,000 objects at once; prefixes are a task.
     * @description Needs the scope `custom:storage:write`.
     */
    post: operations['delete_objects'];
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/tasks': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    /**
     * The caller's tasks, the newest first.
     * @description Needs the scope `custom:storage:read`.
     */
    get: operations['list_tasks'];
    put?: never;
    /**
     * Begin to copy, move or delete a selection.
     * @description Needs the scope `custom:storage:write`.
     */
    post: operations['begin_task'];
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/tasks/{id}': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    /**
     * How far one of the caller's tasks is.
     * @description Needs the scope `custom:storage:read`.
     */
    get: operations['show_task'];
    put?: never;
    post?: never;
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/tasks/{id}/cancel': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    get?: never;
    put?: never;
    /**
     * End one of the caller's tasks at its next step.
     * @description Needs the scope `custom:storage:write`.
     */
    post: operations['cancel_task'];
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/urls/download': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    get?: never;
    put?: never;
    /**
     * A URL that downloads one object.
     * @description Needs the scope `custom:storage:read`.
     */
    post: operations['sign_download'];
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/urls/upload': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    get?: never;
    put?: never;
    /**
     * A URL that uploads one object of exactly this size.
     * @description Needs the scope `custom:storage:write`.
     */
    post: operations['sign_upload'];
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/uploads': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    /**
     * One page of the unfinished uploads under a prefix, whoever began them.
     * @description Needs the scope `custom:storage:write`.
     */
    get: operations['list_uploads'];
    put?: never;
    /**
     * Begin an upload in parts.
     * @description Needs the scope `custom:storage:write`.
     */
    post: operations['begin_upload'];
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/uploads/urls': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    get?: never;
    put?: never;
    /**
     * URLs that upload parts of exactly their sizes.
     * @description Needs the scope `custom:storage:write`.
     */
    post: operations['sign_parts'];
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/uploads/parts': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    /**
     * What has arrived of an upload: enough to go on after a reload.
     * @description Needs the scope `custom:storage:write`.
     */
    get: operations['list_parts'];
    put?: never;
    post?: never;
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/uploads/complete': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    get?: never;
    put?: never;
    /**
     * Make the object of its parts; it appears whole or not at all.
     * @description Needs the scope `custom:storage:write`.
     */
    post: operations['complete_upload'];
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/uploads/abort': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    get?: never;
    put?: never;
    /**
     * Throw an upload and its parts away; also one that was not begun here.
     * @description Needs the scope `custom:storage:write`.
     */
    post: operations['abort_upload'];
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/credentials': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    /**
     * The caller's keys that are still good; the keys themselves are not kept.
     * @description Needs the scope `custom:storage:read`.
     */
    get: operations['list_credentials'];
    put?: never;
    /**
     * Keys for an S3 client, for what was asked or for all that the caller may.
     * @description Needs the scope `custom:storage:read`.
     */
    post: operations['issue_credentials'];
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/credentials/{id}': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    /**
     * Whether some of the caller's keys are still good, and for all that she may.
     * @description Needs the scope `custom:storage:read`.
     */
    get: operations['show_credentials'];
    put?: never;
    post?: never;
    /**
     * End some of the caller's keys now.
     * @description Needs the scope `custom:storage:read`.
     */
    delete: operations['revoke_credentials'];
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/key': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    /**
     * Which key the caller entered; the secret is not shown.
     * @description Needs the scope `custom:storage:read`.
     */
    get: operations['show_key'];
    /**
     * Keep the caller's key for this store, encrypted, in place of an earlier one.
     * @description Needs the scope `custom:storage:write`.
     */
    put: operations['keep_key'];
    post?: never;
    /**
     * Forget the caller's key; it goes on to work elsewhere.
     * @description Needs the scope `custom:storage:write`.
     */
    delete: operations['forget_key'];
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/shares': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    /**
     * What the caller shares.
     * @description Needs the scope `custom:storage:read`.
     */
    get: operations['list_shares'];
    put?: never;
    /**
     * Share a bucket or prefix of the caller's own with a user or group.
     * @description Needs the scope `custom:storage:share`.
     */
    post: operations['create_share'];
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/shares/{id}': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    get?: never;
    put?: never;
    post?: never;
    /**
     * End a share; keys and URLs that rest on it are dead when this returns.
     * @description Needs the scope `custom:storage:share`.
     */
    delete: operations['end_share'];
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/links': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    /**
     * The caller's public links that still work.
     * @description Needs the scope `custom:storage:read`.
     */
    get: operations['list_links'];
    put?: never;
    /**
     * Make a link by which everybody may download one object of the caller's own.
     * @description Needs the scope `custom:storage:share`.
     */
    post: operations['create_link'];
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/links/{id}': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    get?: never;
    put?: never;
    post?: never;
    /**
     * End a public link now.
     * @description Needs the scope `custom:storage:share`.
     */
    delete: operations['end_link'];
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/audit': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    /**
     * What the caller did, and what was done to the caller's buckets.
     * @description Needs the scope `custom:storage:read`.
     */
    get: operations['list_audit'];
    put?: never;
    post?: never;
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
}
export type webhooks = Record<string, never>;
export interface components {
  schemas: {
    /**
     * AuditFact
     * @description One thing that somebody did.
     */
    AuditFact: {
      /**
       * Id
       * @description Grows with each entry; `before` takes it.
       */
      id: number;
      /**
       * At
       * Format: date-time
       * @description When.
       */
      at: string;
      /**
       * Actor
       * @description Who did it.
       */
      actor: string;
      /**
       * Action
       * @description What was done, in one word.
       */
      action: string;
      /**
       * Bucket
       * @description To which bucket; empty if to none.
       */
      bucket: string;
      /**
       * Detail
       * @description More facts, as a JSON object in a text.
       */
      detail: string;
    };
    /**
     * AuditList
     * @description What the caller did, and what others did to the caller's buckets.
     */
    AuditList: {
      /**
       * Next
       * @description `cursor` of the next page; null at the end.
       */
      next: string | null;
      /**
       * Entries
       * @description The newest first.
       */
      entries: components['schemas']['AuditFact'][];
    };
    /**
     * AuditQuery
     * @description A page of the audit log, newest first.
     */
    AuditQuery: {
      /**
       * Cursor
       * @description `next` of the page before; empty: the first page.
       * @default
       */
      cursor?: string;
      /**
       * Limit
       * @description The most entries of a page.
       * @default 100
       */
      limit?: number;
      /**
       * Before
       * @description Only entries whose `id` is smaller; 0: all.
       * @default 0
       */
      before?: number;
    };
    /**
     * Bucket
     * @description A bucket, or a prefix of one, that the caller may use.
     */
    Bucket: {
      /**
       * Name
       * @description The bucket's full name.
       */
      name: string;
      /**
       * Prefix
       * @description Only keys that begin so; empty: all of it.
       */
      prefix: string;
      /**
       * Mode
       * @description What the caller may do.
       * @enum {string}
       */
      mode: 'read' | 'read-write';
      /**
       * Why
       * @description By what right: her own, her group's, for all of the site, shared with her, or by
       *     a key that she brought.
       * @enum {string}
       */
      why: 'own' | 'group' | 'site' | 'share' | 'key';
      /**
       * Owner
       * @description Who shared it, or the group; else empty.
       */
      owner: string;
      /**
       * Share
       * @description The share's id, or empty.
       */
      share: string;
      /**
       * Expires
       * @description When the right ends; null: not by itself.
       */
      expires: string | null;
      /**
       * Quota
       * @description Bytes that all buckets of its owner may hold; null: no limit.
       */
      quota: number | null;
      /**
       * @description What it held when last measured; null: not measured, or only a part is the
       *     caller's.
       */
      usage: components['schemas']['Usage'] | null;
    };
    /**
     * Buckets
     * @description Every bucket that the caller may use.
     */
    Buckets: {
      /**
       * Buckets
       * @description The strongest right first.
       */
      buckets: components['schemas']['Bucket'][];
    };
    /**
     * Count
     * @description What a selection holds now; nothing is changed by asking.
     */
    Count: {
      /**
       * Objects
       * @description How many there are.
       */
      objects: number;
      /**
       * Bytes
       * @description Their size together.
       */
      bytes: number;
      /**
       * Complete
       * @description False: it holds at least this much.
       */
      complete: boolean;
    };
    /**
     * CredentialFact
     * @description Keys that were given out, without the keys.
     */
    CredentialFact: {
      /**
       * Id
       * @description Names them; no secret.
       */
      id: string;
      /**
       * Purpose
       * @description Who they are for, as was said.
       */
      purpose: string;
      /**
       * Grants
       * @description What they open.
       */
      grants: components['schemas']['GrantModel'][];
      /**
       * Created
       * Format: date-time
       * @description When they were made.
       */
      created: string;
      /**
       * Expires
       * @description When they end; null: not by themselves.
       */
      expires: string | null;
    };
    /**
     * CredentialList
     * @description A page of the caller's keys that are still good.
     */
    CredentialList: {
      /**
       * Next
       * @description `cursor` of the next page; null at the end.
       */
      next: string | null;
      /**
       * Credentials
       * @description The newest first.
       */
      credentials: components['schemas']['CredentialFact'][];
    };
    /**
     * CredentialState
     * @description Keys that are still good, and what their user may by now.
     */
    CredentialState: {
      /**
       * Id
       * @description Names them; no secret.
       */
      id: string;
      /**
       * Purpose
       * @description Who they are for, as was said.
       */
      purpose: string;
      /**
       * Grants
       * @description What they open.
       */
      grants: components['schemas']['GrantModel'][];
      /**
       * Created
       * Format: date-time
       * @description When they were made.
       */
      created: string;
      /**
       * Expires
       * @description When they end; null: not by themselves.
       */
      expires: string | null;
      /**
       * Rights
       * @description One word for all that the caller may now. Keys that were made without grants when it was another one are not for all of it: ask for new ones.
       */
      rights: string;
    };
    /**
     * Credentials
     * @description Keys for an S3 client, shown once and never again.
     */
    Credentials: {
      /**
       * Id
       * @description Names them later; no secret.
       */
      id: string;
      /**
       * Access Key
       * @description For an S3 client.
       */
      access_key: string;
      /**
       * Secret Key
       * @description For an S3 client.
       */
      secret_key: string;
      /**
       * Session Token
       * @description For an S3 client; null: these keys need none.
       */
      session_token: string | null;
      /**
       * Expires
       * @description When they end; null: not by themselves.
       */
      expires: string | null;
      /**
       * Grants
       * @description What they open.
       */
      grants: components['schemas']['GrantModel'][];
      /**
       * Left Out
       * @description What had no room in one set of keys: ask for it by `grants`.
       */
      left_out: components['schemas']['GrantModel'][];
      /**
       * Rights
       * @description One word for all that the caller may now. Keys that were made without grants when it was another one are not for all of it: ask for new ones.
       */
      rights: string;
      /**
       * Endpoint
       * @description Where programs reach S3.
       */
      endpoint: string;
      /**
       * Region
       * @description For signatures of S3.
       */
      region: string;
    };
    /**
     * Deleted
     * @description How many objects are gone, and why others are not.
     */
    Deleted: {
      /**
       * Deleted
       * @description How many are gone.
       */
      deleted: number;
      /**
       * Failures
       * @description Of each other one: `key`, `code` and `message`.
       */
      failures: {
        [key: string]: string;
      }[];
    };
    /**
     * DownloadUrl
     * @description An object to be downloaded.
     */
    DownloadUrl: {
      /**
       * Bucket
       * @description The bucket's full name.
       */
      bucket: string;
      /**
       * Key
       * @description The name of an object.
       */
      key: string;
      /**
       * Version
       * @description Of a version; empty: the current one.
       * @default
       */
      version?: string;
      /**
       * Inline
       * @description For fetch() by a page of the gateway: no attachment.
       * @default false
       */
      inline?: boolean;
    };
    /**
     * Entry
     * @description One object of a page; `size` in bytes.
     */
    Entry: {
      /**
       * Key
       * @description The name of an object.
       */
      key: string;
      /**
       * Size
       * @description In bytes.
       */
      size: number;
      /**
       * Modified
       * Format: date-time
       * @description When it was stored.
       */
      modified: string;
      /**
       * Etag
       * @description Another one when it is another content.
       */
      etag: string;
      /**
       * Storage Class
       * @description In the store's words.
       */
      storage_class: string;
    };
    /**
     * ErrorAnswer
     * @description The shape of every error of every service.
     */
    ErrorAnswer: {
      /** @description What went wrong. */
      error: components['schemas']['ErrorFacts'];
    };
    /**
     * ErrorFacts
     * @description What went wrong, to what, and what to try.
     */
    ErrorFacts: {
      /**
       * Code
       * @description The kind of error, for programs.
       * @enum {string}
       */
      code:
        | 'bad-request'
        | 'checksum'
        | 'grant-refused'
        | 'key-refused'
        | 'store-refused'
        | 'not-signed-in'
        | 'forbidden'
        | 'key-needed'
        | 'quota'
        | 'session-ended'
        | 'store-denied'
        | 'not-found'
        | 'method-not-allowed'
        | 'conflict'
        | 'changed'
        | 'too-large'
        | 'too-many'
        | 'internal-error'
        | 'not-supported'
        | 'store-clock'
        | 'store-error'
        | 'store-invalid'
        | 'database-unavailable'
        | 'not-ready'
        | 'store-busy'
        | 'store-unavailable'
        | 'store-full';
      /**
       * Message
       * @description What happened, for people.
       */
      message: string;
      /**
       * Hint
       * @description What to try; may be empty.
       */
      hint: string;
      /**
       * Id
       * @description Names the request; also in the log.
       */
      id: string;
      /**
       * Field
       * @description The value at fault, as `body.name`; empty if none is.
       * @default
       */
      field?: string;
    };
    /**
     * GrantModel
     * @description A right to a bucket, or to the keys under a prefix.
     */
    GrantModel: {
      /**
       * Bucket
       * @description The bucket's full name.
       */
      bucket: string;
      /**
       * Prefix
       * @description Only names that begin so; empty: all.
       * @default
       */
      prefix?: string;
      /**
       * Mode
       * @description What may be done.
       * @default read-write
       * @enum {string}
       */
      mode?: 'read' | 'read-write';
    };
    /**
     * Head
     * @description The facts of one object.
     */
    Head: {
      /**
       * Key
       * @description The name of an object.
       */
      key: string;
      /**
       * Size
       * @description In bytes.
       */
      size: number;
      /**
       * Modified
       * @description When it was stored; null: not told.
       */
      modified: string | null;
      /**
       * Etag
       * @description Another one when it is another content.
       */
      etag: string;
      /**
       * Content Type
       * @description As it was uploaded.
       */
      content_type: string;
      /**
       * Content Encoding
       * @description As it was uploaded; else empty.
       */
      content_encoding: string;
      /**
       * Metadata
       * @description What was stored beside it.
       */
      metadata: {
        [key: string]: string;
      };
      /**
       * Checksums
       * @description By algorithm, in base64.
       */
      checksums: {
        [key: string]: string;
      };
      /**
       * Version
       * @description Its version; null: the bucket keeps none.
       */
      version: string | null;
      /**
       * Storage Class
       * @description In the store's words.
       */
      storage_class: string;
    };
    /**
     * KeyFact
     * @description The caller's own key, without its secret.
     */
    KeyFact: {
      /**
       * Access Key
       * @description Empty: the caller has to enter one.
       */
      access_key: string;
    };
    /**
     * KeysToDelete
     * @description Objects to delete now.
     */
    KeysToDelete: {
      /**
       * Bucket
       * @description The bucket's full name.
       */
      bucket: string;
      /**
       * Keys
       * @description The names of the objects.
       */
      keys: string[];
    };
    /**
     * LinkFact
     * @description A public link; its URL is told only when it is made.
     */
    LinkFact: {
      /**
       * Id
       * @description Names it; no secret.
       */
      id: string;
      /**
       * Bucket
       * @description The bucket's full name.
       */
      bucket: string;
      /**
       * Key
       * @description The name of an object.
       */
      key: string;
      /**
       * Url
       * @description Where everybody can download it; null when it is only listed.
       */
      url: string | null;
      /**
       * Created
       * Format: date-time
       * @description When it was made.
       */
      created: string;
      /**
       * Expires
       * Format: date-time
       * @description When it ends.
       */
      expires: string;
      /**
       * Uses
       * @description How often it was followed.
       */
      uses: number;
      /**
       * Last Used
       * @description When it was followed last; null: never.
       */
      last_used: string | null;
    };
    /**
     * LinkList
     * @description A page of the caller's public links.
     */
    LinkList: {
      /**
       * Next
       * @description `cursor` of the next page; null at the end.
       */
      next: string | null;
      /**
       * Links
       * @description The newest first.
       */
      links: components['schemas']['LinkFact'][];
    };
    /**
     * ListQuery
     * @description One page of a bucket.
     */
    ListQuery: {
      /**
       * Cursor
       * @description `next` of the page before; empty: the first page.
       * @default
       */
      cursor?: string;
      /**
       * Limit
       * @description The most entries of a page.
       * @default 1000
       */
      limit?: number;
      /**
       * Bucket
       * @description The bucket's full name.
       */
      bucket: string;
      /**
       * Prefix
       * @description Only names that begin so; empty: all.
       * @default
       */
      prefix?: string;
      /**
       * Delimiter
       * @description `/`: keys with another slash after the prefix come as one "folder"; empty: all
       *     keys.
       * @default /
       * @enum {string}
       */
      delimiter?: '' | '/';
      /**
       * Token
       * @description Of the page before; `cursor` is that, too.
       * @default
       */
      token?: string;
      /**
       * Start After
       * @description Only keys after this: a jump.
       * @default
       */
      start_after?: string;
    };
    /**
     * LongPageQuery
     * @description A page of a list whose entries are short.
     */
    LongPageQuery: {
      /**
       * Cursor
       * @description `next` of the page before; empty: the first page.
       * @default
       */
      cursor?: string;
      /**
       * Limit
       * @description The most entries of a page.
       * @default 1000
       */
      limit?: number;
    };
    /**
     * Me
     * @description Who asks, and what there is for them.
     */
    Me: {
      /**
       * User
       * @description The caller's name at the hub.
       */
      user: string;
      /**
       * Groups
       * @description The hub's groups that the caller is in.
       */
      groups: string[];
      /**
       * Scopes
       * @description What this session or token may.
       */
      scopes: string[];
      /**
       * Bucket
       * @description The default bucket; empty if there is none.
       */
      bucket: string;
      /**
       * Region
       * @description For signatures of S3.
       */
      region: string;
      /**
       * Endpoint
       * @description Where programs reach S3.
       */
      endpoint: string;
      /**
       * Gateway
       * @description The same, where it is the gateway's own address; else empty.
       */
      gateway: string;
      /**
       * Path
       * @description The path of `/s3/`; empty if browsers go direct.
       */
      path: string;
      /**
       * Pages
       * @description Where browsers find this service, with a slash at the end, if it has a host of its own; else empty.
       */
      pages: string;
      /**
       * Embedded
       * @description Whether the store is the gateway's own.
       */
      embedded: boolean;
      /**
       * Public Links
       * @description Whether the site allows public links.
       */
      public_links: boolean;
      /**
       * Credentials
       * @description How programs get keys; `pasted`: the caller enters one (`key`).
       * @enum {string}
       */
      credentials: 'sts' | 'web-identity' | 'keys' | 'pasted' | 'none';
      /**
       * Quota
       * @description Bytes that all of the caller's buckets may hold; null: no limit.
       */
      quota: number | null;
      /**
       * Used
       * @description Bytes that they hold or expect, as last counted.
       */
      used: number;
      /**
       * May Create
       * @description Whether one more bucket may be created.
       */
      may_create: boolean;
    };
    /**
     * NewBucket
     * @description A bucket to create; its full name is `OWN--NAME`.
     */
    NewBucket: {
      /**
       * Name
       * @description The part of the name that the caller chooses.
       */
      name: string;
    };
    /**
     * NewCredentials
     * @description Keys to be made; without `grants`, for all that the caller may.
     */
    NewCredentials: {
      /**
       * Grants
       * @description What they shall open; empty: all that the caller may.
       * @default []
       */
      grants?: components['schemas']['GrantModel'][];
      /**
       * Seconds
       * @description How long they shall be good; the site may allow less.
       * @default 3600
       */
      seconds?: number;
      /**
       * Purpose
       * @description Who they are for: shown to the caller only.
       * @default
       */
      purpose?: string;
    };
    /**
     * NewKey
     * @description A key of the store that the caller has, with its secret.
     */
    NewKey: {
      /**
       * Access Key
       * @description Its public part.
       */
      access_key: string;
      /**
       * Secret Key
       * @description Its secret part; never told again.
       */
      secret_key: string;
      /**
       * Session Token
       * @description For keys that need one.
       * @default
       */
      session_token?: string;
    };
    /**
     * NewLink
     * @description An object that everybody who has the link may download.
     */
    NewLink: {
      /**
       * Bucket
       * @description The bucket's full name.
       */
      bucket: string;
      /**
       * Key
       * @description The name of an object.
       */
      key: string;
      /**
       * Expires
       * @description With a zone; null: 7 days.
       * @default null
       */
      expires?: string | null;
    };
    /**
     * NewShare
     * @description A bucket or prefix to be shared with a user or a group of the hub.
     */
    NewShare: {
      /**
       * Bucket
       * @description The bucket's full name.
       */
      bucket: string;
      /**
       * Prefix
       * @description Only names that begin so; empty: all.
       * @default
       */
      prefix?: string;
      /**
       * Mode
       * @description What may be done.
       * @default read
       * @enum {string}
       */
      mode?: 'read' | 'read-write';
      /**
       * Kind
       * @description With whom: one user, or all of a group.
       * @enum {string}
       */
      kind: 'user' | 'group';
      /**
       * Name
       * @description The user's or group's.
       */
      name: string;
      /**
       * Expires
       * @description With a zone; null: the longest.
       * @default null
       */
      expires?: string | null;
    };
    /**
     * NewTags
     * @description The tags that an object shall have, and no others.
     */
    NewTags: {
      /**
       * Bucket
       * @description The bucket's full name.
       */
      bucket: string;
      /**
       * Key
       * @description The name of an object.
       */
      key: string;
      /**
       * Tags
       * @description By name.
       */
      tags: {
        [key: string]: string;
      };
    };
    /**
     * NewTask
     * @description Long work on a selection.
     *
     *     A key `K` that lies under a selected prefix `a/b/` goes to `TARGET_PREFIX` +
     *     `b/...`; a selected key to `TARGET_PREFIX` + its last part. `delete` has no target.
     */
    NewTask: {
      /**
       * Kind
       * @description What is done.
       * @enum {string}
       */
      kind: 'copy' | 'move' | 'delete';
      /** @description To what. */
      source: components['schemas']['Selection'];
      /**
       * Bucket
       * @description Where to.
       * @default null
       */
      bucket?: string | null;
      /**
       * Prefix
       * @description The new prefix there.
       * @default
       */
      prefix?: string;
      /**
       * Name
       * @description For one key or prefix: its new last part (rename).
       * @default null
       */
      name?: string | null;
      /**
       * Overwrite
       * @description Replace what is there.
       * @default false
       */
      overwrite?: boolean;
    };
    /**
     * NewUpload
     * @description An object to be uploaded in parts.
     */
    NewUpload: {
      /**
       * Bucket
       * @description The bucket's full name.
       */
      bucket: string;
      /**
       * Key
       * @description The name of an object.
       */
      key: string;
      /**
       * Size
       * @description In bytes.
       */
      size: number;
      /**
       * Content Type
       * @description What the object is, for whoever downloads it.
       * @default application/octet-stream
       */
      content_type?: string;
      /**
       * Overwrite
       * @description Whether an object of this name may be replaced.
       * @default false
       */
      overwrite?: boolean;
    };
    /**
     * Nothing
     * @description The answer of a call that has nothing to say: ``{}``.
     */
    Nothing: Record<string, never>;
    /**
     * ObjectQuery
     * @description One object, or one version of it.
     */
    ObjectQuery: {
      /**
       * Bucket
       * @description The bucket's full name.
       */
      bucket: string;
      /**
       * Key
       * @description The name of an object.
       */
      key: string;
      /**
       * Version
       * @description Of a version; empty: the current one.
       * @default
       */
      version?: string;
    };
    /**
     * Page
     * @description Objects and "folders" directly under a prefix, in the store's order.
     */
    Page: {
      /**
       * Next
       * @description `cursor` of the next page; null at the end.
       */
      next: string | null;
      /**
       * Objects
       * @description The objects.
       */
      objects: components['schemas']['Entry'][];
      /**
       * Prefixes
       * @description The "folders", with the slash at their end.
       */
      prefixes: string[];
      /**
       * Token
       * @description As `next`, in the store's own words.
       */
      token: string | null;
    };
    /**
     * PageQuery
     * @description A page of a list.
     */
    PageQuery: {
      /**
       * Cursor
       * @description `next` of the page before; empty: the first page.
       * @default
       */
      cursor?: string;
      /**
       * Limit
       * @description The most entries of a page.
       * @default 100
       */
      limit?: number;
    };
    /**
     * PartFact
     * @description A part that has arrived.
     */
    PartFact: {
      /**
       * Number
       * @description Counted from 1.
       */
      number: number;
      /**
       * Etag
       * @description As the store answered the part.
       */
      etag: string;
      /**
       * Size
       * @description In bytes.
       * @default 0
       */
      size?: number;
    };
    /**
     * PartToSign
     * @description One part that will be sent.
     */
    PartToSign: {
      /**
       * Number
       * @description Counted from 1.
       */
      number: number;
      /**
       * Crc32
       * @description Base64 of the 4 bytes; null: not checked.
       * @default null
       */
      crc32?: string | null;
    };
    /**
     * PartUrls
     * @description One URL for each part, in the order of the request.
     */
    PartUrls: {
      /**
       * Urls
       * @description In the order of the request.
       */
      urls: components['schemas']['Url'][];
    };
    /**
     * Parts
     * @description What has arrived of an upload, by number: enough to go on after a reload.
     */
    Parts: {
      /**
       * Parts
       * @description By number.
       */
      parts: components['schemas']['PartFact'][];
    };
    /**
     * PartsToSign
     * @description Parts that will be sent now.
     */
    PartsToSign: {
      /**
       * Bucket
       * @description The bucket's full name.
       */
      bucket: string;
      /**
       * Key
       * @description The name of an object.
       */
      key: string;
      /**
       * Upload Id
       * @description The store's, as the upload was begun.
       */
      upload_id: string;
      /**
       * Parts
       * @description Those that will be sent now.
       */
      parts: components['schemas']['PartToSign'][];
    };
    /**
     * Phase
     * @description How far a task is.
     * @enum {string}
     */
    Phase: 'waiting' | 'running' | 'done' | 'failed' | 'cancelled';
    /**
     * Selection
     * @description Objects of a bucket: some keys, or all under a prefix.
     */
    Selection: {
      /**
       * Bucket
       * @description The bucket's full name.
       */
      bucket: string;
      /**
       * Keys
       * @description The names of objects.
       * @default []
       */
      keys?: string[];
      /**
       * Prefixes
       * @description All objects whose names begin so.
       * @default []
       */
      prefixes?: string[];
    };
    /**
     * ShareFact
     * @description A share.
     */
    ShareFact: {
      /**
       * Id
       * @description Names it.
       */
      id: string;
      /**
       * Bucket
       * @description The bucket's full name.
       */
      bucket: string;
      /**
       * Prefix
       * @description Only names that begin so; empty: all.
       */
      prefix: string;
      /**
       * Mode
       * @description What may be done.
       * @enum {string}
       */
      mode: 'read' | 'read-write';
      /**
       * By
       * @description Who shared it.
       */
      by: string;
      /**
       * Kind
       * @description With whom: one user, or all of a group.
       * @enum {string}
       */
      kind: 'user' | 'group';
      /**
       * Name
       * @description The user's or group's.
       */
      name: string;
      /**
       * Created
       * Format: date-time
       * @description When it was shared.
       */
      created: string;
      /**
       * Expires
       * Format: date-time
       * @description When it ends.
       */
      expires: string;
    };
    /**
     * ShareList
     * @description A page of what the caller shared.
     */
    ShareList: {
      /**
       * Next
       * @description `cursor` of the next page; null at the end.
       */
      next: string | null;
      /**
       * Shares
       * @description The newest first.
       */
      shares: components['schemas']['ShareFact'][];
    };
    /**
     * Stored
     * @description The object that is there now.
     */
    Stored: {
      /**
       * Key
       * @description The name of an object.
       */
      key: string;
      /**
       * Etag
       * @description Another one when it is another content.
       */
      etag: string;
    };
    /**
     * Tags
     * @description The tags of an object.
     */
    Tags: {
      /**
       * Tags
       * @description By name.
       */
      tags: {
        [key: string]: string;
      };
    };
    /**
     * TaskAnswer
     * @description A piece of long work and how far it is.
     */
    TaskAnswer: {
      /**
       * Id
       * @description Names it.
       */
      id: string;
      /**
       * Kind
       * @description What is done.
       */
      kind: string;
      /** @description How far it is; `done`, `failed` and `cancelled` are its end. */
      phase: components['schemas']['Phase'];
      /**
       * Facts
       * @description What it was asked to do.
       */
      facts: {
        [key: string]: unknown;
      };
      /**
       * Created
       * Format: date-time
       * @description When it was asked for.
       */
      created: string;
      /**
       * Updated
       * Format: date-time
       * @description When it got on last.
       */
      updated: string;
      /**
       * Done
       * @description Steps (objects) that are done.
       */
      done: number;
      /**
       * Total
       * @description Of how many; null: not known yet.
       */
      total: number | null;
      /**
       * Bytes Done
       * @description Bytes in the steps that are done.
       */
      bytes_done: number;
      /**
       * Failed
       * @description Steps that did not work.
       */
      failed: number;
      /**
       * Failures
       * @description The first fifty of these, with `key`, `code` and `message`.
       */
      failures: {
        [key: string]: string;
      }[];
      /**
       * Cancel Wanted
       * @description Whether somebody wants it to end.
       */
      cancel_wanted: boolean;
      /**
       * Message
       * @description Why it ended as it did, or what it waits for.
       */
      message: string;
    };
    /**
     * TaskList
     * @description A page of the caller's tasks.
     */
    TaskList: {
      /**
       * Next
       * @description `cursor` of the next page; null at the end.
       */
      next: string | null;
      /**
       * Tasks
       * @description The newest first.
       */
      tasks: components['schemas']['TaskAnswer'][];
    };
    /**
     * UploadEnd
     * @description The parts that make the object.
     */
    UploadEnd: {
      /**
       * Bucket
       * @description The bucket's full name.
       */
      bucket: string;
      /**
       * Key
       * @description The name of an object.
       */
      key: string;
      /**
       * Upload Id
       * @description The store's, as the upload was begun.
       */
      upload_id: string;
      /**
       * Parts
       * @description All of it, each once.
       */
      parts: components['schemas']['PartFact'][];
      /**
       * Overwrite
       * @description Whether an object of this name may be replaced.
       * @default false
       */
      overwrite?: boolean;
    };
    /**
     * UploadFact
     * @description An upload that was begun and neither completed nor aborted.
     */
    UploadFact: {
      /**
       * Key
       * @description The name of an object.
       */
      key: string;
      /**
       * Upload Id
       * @description The store's.
       */
      upload_id: string;
      /**
       * Started
       * @description When it was begun; null: not told.
       */
      started: string | null;
    };
    /**
     * UploadList
     * @description One page of unfinished uploads.
     */
    UploadList: {
      /**
       * Next
       * @description `cursor` of the next page; null at the end.
       */
      next: string | null;
      /**
       * Uploads
       * @description By key.
       */
      uploads: components['schemas']['UploadFact'][];
      /**
       * Key Marker
       * @description A part of `next`; null at the end.
       */
      key_marker: string | null;
      /**
       * Upload Marker
       * @description A part of `next`; null at the end.
       */
      upload_marker: string | null;
    };
    /**
     * UploadQuery
     * @description One upload that was begun.
     */
    UploadQuery: {
      /**
       * Bucket
       * @description The bucket's full name.
       */
      bucket: string;
      /**
       * Key
       * @description The name of an object.
       */
      key: string;
      /**
       * Upload Id
       * @description The store's, as the upload was begun.
       */
      upload_id: string;
    };
    /**
     * UploadStart
     * @description An upload that was begun: the parts have `part_size` bytes but the last.
     */
    UploadStart: {
      /**
       * Bucket
       * @description The bucket's full name.
       */
      bucket: string;
      /**
       * Key
       * @description The name of an object.
       */
      key: string;
      /**
       * Upload Id
       * @description The store's.
       */
      upload_id: string;
      /**
       * Part Size
       * @description Bytes of each part but the last.
       */
      part_size: number;
      /**
       * Parts
       * @description How many parts it is to have.
       */
      parts: number;
    };
    /**
     * UploadUrl
     * @description An object to be uploaded in one piece.
     */
    UploadUrl: {
      /**
       * Bucket
       * @description The bucket's full name.
       */
      bucket: string;
      /**
       * Key
       * @description The name of an object.
       */
      key: string;
      /**
       * Size
       * @description In bytes; the URL takes exactly as many.
       */
      size: number;
      /**
       * Content Type
       * @description What the object is, for whoever downloads it.
       * @default application/octet-stream
       */
      content_type?: string;
      /**
       * Crc32
       * @description Base64 of the 4 bytes.
       * @default null
       */
      crc32?: string | null;
      /**
       * Overwrite
       * @description Whether an object of this name may be replaced.
       * @default false
       */
      overwrite?: boolean;
      /**
       * If Match
       * @description ETag that the object must have: nobody changed it.
       * @default null
       */
      if_match?: string | null;
    };
    /**
     * UploadsQuery
     * @description Unfinished uploads of a bucket.
     */
    UploadsQuery: {
      /**
       * Cursor
       * @description `next` of the page before; empty: the first page.
       * @default
       */
      cursor?: string;
      /**
       * Bucket
       * @description The bucket's full name.
       */
      bucket: string;
      /**
       * Prefix
       * @description Only names that begin so; empty: all.
       * @default
       */
      prefix?: string;
      /**
       * Key Marker
       * @description Of the page before; `cursor` is both markers.
       * @default
       */
      key_marker?: string;
      /**
       * Upload Marker
       * @description Of the page before; `cursor` is both markers.
       * @default
       */
      upload_marker?: string;
    };
    /**
     * Url
     * @description A URL that lets its bearer do one thing until it expires.
     */
    Url: {
      /**
       * Method
       * @description HTTP's.
       */
      method: string;
      /**
       * Url
       * @description Where to send it.
       */
      url: string;
      /**
       * Headers
       * @description Must be sent exactly like this.
       */
      headers: {
        [key: string]: string;
      };
      /**
       * Expires
       * Format: date-time
       * @description When it is good no more.
       */
      expires: string;
    };
    /**
     * Usage
     * @description What a bucket held when it was last measured.
     */
    Usage: {
      /**
       * Bytes
       * @description The size of all objects in it.
       */
      bytes: number;
      /**
       * Objects
       * @description How many.
       */
      objects: number;
      /**
       * Measured
       * Format: date-time
       * @description When it was counted.
       */
      measured: string;
      /**
       * Complete
       * @description False: it holds at least this much.
       */
      complete: boolean;
    };
    /**
     * VersionEntry
     * @description One version of an object; a deleted one is a delete marker.
     */
    VersionEntry: {
      /**
       * Key
       * @description The name of an object.
       */
      key: string;
      /**
       * Version
       * @description Names it, with the key.
       */
      version: string;
      /**
       * Latest
       * @description Whether it is the current one.
       */
      latest: boolean;
      /**
       * Modified
       * Format: date-time
       * @description When it was stored.
       */
      modified: string;
      /**
       * Size
       * @description In bytes.
       */
      size: number;
      /**
       * Etag
       * @description Another one when it is another content.
       */
      etag: string;
      /**
       * Deleted
       * @description Whether it says that the object was deleted.
       */
      deleted: boolean;
    };
    /**
     * VersionToRestore
     * @description A version of an object that shall be the current one again.
     */
    VersionToRestore: {
      /**
       * Bucket
       * @description The bucket's full name.
       */
      bucket: string;
      /**
       * Key
       * @description The name of an object.
       */
      key: string;
      /**
       * Version
       * @description The one to be the current one again.
       */
      version: string;
    };
    /**
     * Versions
     * @description One page of versions.
     */
    Versions: {
      /**
       * Next
       * @description `cursor` of the next page; null at the end.
       */
      next: string | null;
      /**
       * Versions
       * @description By key, the newest first.
       */
      versions: components['schemas']['VersionEntry'][];
      /**
       * Key Marker
       * @description A part of `next`; null at the end.
       */
      key_marker: string | null;
      /**
       * Version Marker
       * @description A part of `next`; null at the end.
       */
      version_marker: string | null;
    };
    /**
     * VersionsQuery
     * @description One page of versions.
     */
    VersionsQuery: {
      /**
       * Cursor
       * @description `next` of the page before; empty: the first page.
       * @default
       */
      cursor?: string;
      /**
       * Bucket
       * @description The bucket's full name.
       */
      bucket: string;
      /**
       * Prefix
       * @description Only names that begin so; empty: all.
       * @default
       */
      prefix?: string;
      /**
       * Key Marker
       * @description Of the page before; `cursor` is both markers.
       * @default
       */
      key_marker?: string;
      /**
       * Version Marker
       * @description Of the page before; `cursor` is both markers.
       * @default
       */
      version_marker?: string;
    };
  };
  responses: never;
  parameters: never;
  requestBodies: never;
  headers: never;
  pathItems: never;
}
export type $defs = Record<string, never>;
export interface operations {
  show_me: {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description Who asks, and what there is for them. */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['Me'];
        };
      };
    };
  };
  list_buckets: {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description Every bucket that the caller may use. */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['Buckets'];
        };
      };
    };
  };
  create_bucket: {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    requestBody: {
      content: {
        'application/json': components['schemas']['NewBucket'];
      };
    };
    responses: {
      /** @description A bucket, or a prefix of one, that the caller may use. */
      201: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['Bucket'];
        };
      };
    };
  };
  delete_bucket: {
    parameters: {
      query?: never;
      header?: never;
      path: {
        bucket: string;
      };
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description The answer of a call that has nothing to say: ``{}``. */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['Nothing'];
        };
      };
    };
  };
  measure_bucket: {
    parameters: {
      query?: never;
      header?: never;
      path: {
        bucket: string;
      };
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description What a bucket held when it was last measured. */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['Usage'];
        };
      };
    };
  };
  list_objects: {
    parameters: {
      query: {
        /** @description `next` of the page before; empty: the first page. */
        cursor?: string;
        /** @description The most entries of a page. */
        limit?: number;
        /** @description The bucket's full name. */
        bucket: string;
        /** @description Only names that begin so; empty: all. */
        prefix?: string;
        /**
         * @description `/`: keys with another slash after the prefix come as one "folder"; empty: all
         *     keys.
         */
        delimiter?: '' | '/';
        /** @description Of the page before; `cursor` is that, too. */
        token?: string;
        /** @description Only keys after this: a jump. */
        start_after?: string;
      };
      header?: never;
      path?: never;
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description Objects and "folders" directly under a prefix, in the store's order. */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['Page'];
        };
      };
    };
  };
  head_object: {
    parameters: {
      query: {
        /** @description The bucket's full name. */
        bucket: string;
        /** @description The name of an object. */
        key: string;
        /** @description Of a version; empty: the current one. */
        version?: string;
      };
      header?: never;
      path?: never;
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description The facts of one object. */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['Head'];
        };
      };
    };
  };
  list_versions: {
    parameters: {
      query: {
        /** @description `next` of the page before; empty: the first page. */
        cursor?: string;
        /** @description The bucket's full name. */
        bucket: string;
        /** @description Only names that begin so; empty: all. */
        prefix?: string;
        /** @description Of the page before; `cursor` is both markers. */
        key_marker?: string;
        /** @description Of the page before; `cursor` is both markers. */
        version_marker?: string;
      };
      header?: never;
      path?: never;
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description One page of versions. */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['Versions'];
        };
      };
    };
  };
  show_tags: {
    parameters: {
      query: {
        /** @description The bucket's full name. */
        bucket: string;
        /** @description The name of an object. */
        key: string;
        /** @description Of a version; empty: the current one. */
        version?: string;
      };
      header?: never;
      path?: never;
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description The tags of an object. */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['Tags'];
        };
      };
    };
  };
  set_tags: {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    requestBody: {
      content: {
        'application/json': components['schemas']['NewTags'];
      };
    };
    responses: {
      /** @description The tags of an object. */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['Tags'];
        };
      };
    };
  };
  restore_object: {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    requestBody: {
      content: {
        'application/json': components['schemas']['VersionToRestore'];
      };
    };
    responses: {
      /** @description The object that is there now. */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['Stored'];
        };
      };
    };
  };
  count_objects: {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    requestBody: {
      content: {
        'application/json': components['schemas']['Selection'];
      };
    };
    responses: {
      /** @description What a selection holds now; nothing is changed by asking. */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['Count'];
        };
      };
    };
  };
  delete_objects: {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    requestBody: {
      content: {
        'application/json': components['schemas']['KeysToDelete'];
      };
    };
    responses: {
      /** @description How many objects are gone, and why others are not. */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['Deleted'];
        };
      };
    };
  };
  list_tasks: {
    parameters: {
      query?: {
        /** @description `next` of the page before; empty: the first page. */
        cursor?: string;
        /** @description The most entries of a page. */
        limit?: number;
      };
      header?: never;
      path?: never;
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description A page of the caller's tasks. */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['TaskList'];
        };
      };
    };
  };
  begin_task: {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    requestBody: {
      content: {
        'application/json': components['schemas']['NewTask'];
      };
    };
    responses: {
      /** @description A piece of long work and how far it is. */
      202: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['TaskAnswer'];
        };
      };
    };
  };
  show_task: {
    parameters: {
      query?: never;
      header?: never;
      path: {
        id: string;
      };
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description A piece of long work and how far it is. */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['TaskAnswer'];
        };
      };
    };
  };
  cancel_task: {
    parameters: {
      query?: never;
      header?: never;
      path: {
        id: string;
      };
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description A piece of long work and how far it is. */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['TaskAnswer'];
        };
      };
    };
  };
  sign_download: {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    requestBody: {
      content: {
        'application/json': components['schemas']['DownloadUrl'];
      };
    };
    responses: {
      /** @description A URL that lets its bearer do one thing until it expires. */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['Url'];
        };
      };
    };
  };
  sign_upload: {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    requestBody: {
      content: {
        'application/json': components['schemas']['UploadUrl'];
      };
    };
    responses: {
      /** @description A URL that lets its bearer do one thing until it expires. */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['Url'];
        };
      };
    };
  };
  list_uploads: {
    parameters: {
      query: {
        /** @description `next` of the page before; empty: the first page. */
        cursor?: string;
        /** @description The bucket's full name. */
        bucket: string;
        /** @description Only names that begin so; empty: all. */
        prefix?: string;
        /** @description Of the page before; `cursor` is both markers. */
        key_marker?: string;
        /** @description Of the page before; `cursor` is both markers. */
        upload_marker?: string;
      };
      header?: never;
      path?: never;
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description One page of unfinished uploads. */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['UploadList'];
        };
      };
    };
  };
  begin_upload: {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    requestBody: {
      content: {
        'application/json': components['schemas']['NewUpload'];
      };
    };
    responses: {
      /** @description An upload that was begun: the parts have `part_size` bytes but the last. */
      201: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['UploadStart'];
        };
      };
    };
  };
  sign_parts: {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    requestBody: {
      content: {
        'application/json': components['schemas']['PartsToSign'];
      };
    };
    responses: {
      /** @description One URL for each part, in the order of the request. */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['PartUrls'];
        };
      };
    };
  };
  list_parts: {
    parameters: {
      query: {
        /** @description The bucket's full name. */
        bucket: string;
        /** @description The name of an object. */
        key: string;
        /** @description The store's, as the upload was begun. */
        upload_id: string;
      };
      header?: never;
      path?: never;
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description What has arrived of an upload, by number: enough to go on after a reload. */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['Parts'];
        };
      };
    };
  };
  complete_upload: {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    requestBody: {
      content: {
        'application/json': components['schemas']['UploadEnd'];
      };
    };
    responses: {
      /** @description The object that is there now. */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['Stored'];
        };
      };
    };
  };
  abort_upload: {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    requestBody: {
      content: {
        'application/json': components['schemas']['UploadQuery'];
      };
    };
    responses: {
      /** @description The answer of a call that has nothing to say: ``{}``. */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['Nothing'];
        };
      };
    };
  };
  list_credentials: {
    parameters: {
      query?: {
        /** @description `next` of the page before; empty: the first page. */
        cursor?: string;
        /** @description The most entries of a page. */
        limit?: number;
      };
      header?: never;
      path?: never;
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description A page of the caller's keys that are still good. */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['CredentialList'];
        };
      };
    };
  };
  issue_credentials: {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    requestBody: {
      content: {
        'application/json': components['schemas']['NewCredentials'];
      };
    };
    responses: {
      /** @description Keys for an S3 client, shown once and never again. */
      201: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['Credentials'];
        };
      };
    };
  };
  show_credentials: {
    parameters: {
      query?: never;
      header?: never;
      path: {
        id: string;
      };
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description Keys that are still good, and what their user may by now. */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['CredentialState'];
        };
      };
    };
  };
  revoke_credentials: {
    parameters: {
      query?: never;
      header?: never;
      path: {
        id: string;
      };
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description The answer of a call that has nothing to say: ``{}``. */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['Nothing'];
        };
      };
    };
  };
  show_key: {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description The caller's own key, without its secret. */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['KeyFact'];
        };
      };
    };
  };
  keep_key: {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    requestBody: {
      content: {
        'application/json': components['schemas']['NewKey'];
      };
    };
    responses: {
      /** @description The caller's own key, without its secret. */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['KeyFact'];
        };
      };
    };
  };
  forget_key: {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description The answer of a call that has nothing to say: ``{}``. */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['Nothing'];
        };
      };
    };
  };
  list_shares: {
    parameters: {
      query?: {
        /** @description `next` of the page before; empty: the first page. */
        cursor?: string;
        /** @description The most entries of a page. */
        limit?: number;
      };
      header?: never;
      path?: never;
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description A page of what the caller shared. */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['ShareList'];
        };
      };
    };
  };
  create_share: {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    requestBody: {
      content: {
        'application/json': components['schemas']['NewShare'];
      };
    };
    responses: {
      /** @description A share. */
      201: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['ShareFact'];
        };
      };
    };
  };
  end_share: {
    parameters: {
      query?: never;
      header?: never;
      path: {
        id: string;
      };
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description The answer of a call that has nothing to say: ``{}``. */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['Nothing'];
        };
      };
    };
  };
  list_links: {
    parameters: {
      query?: {
        /** @description `next` of the page before; empty: the first page. */
        cursor?: string;
        /** @description The most entries of a page. */
        limit?: number;
      };
      header?: never;
      path?: never;
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description A page of the caller's public links. */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['LinkList'];
        };
      };
    };
  };
  create_link: {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    requestBody: {
      content: {
        'application/json': components['schemas']['NewLink'];
      };
    };
    responses: {
      /** @description A public link; its URL is told only when it is made. */
      201: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['LinkFact'];
        };
      };
    };
  };
  end_link: {
    parameters: {
      query?: never;
      header?: never;
      path: {
        id: string;
      };
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description The answer of a call that has nothing to say: ``{}``. */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['Nothing'];
        };
      };
    };
  };
  list_audit: {
    parameters: {
      query?: {
        /** @description `next` of the page before; empty: the first page. */
        cursor?: string;
        /** @description The most entries of a page. */
        limit?: number;
        /** @description Only entries whose `id` is smaller; 0: all. */
        before?: number;
      };
      header?: never;
      path?: never;
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description What the caller did, and what others did to the caller's buckets. */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['AuditList'];
        };
      };
    };
  };
}

/** Each call's method and path. */
export const OPERATIONS = {
  show_me: ['GET', 'me'],
  list_buckets: ['GET', 'buckets'],
  create_bucket: ['POST', 'buckets'],
  delete_bucket: ['DELETE', 'buckets/{bucket}'],
  measure_bucket: ['GET', 'buckets/{bucket}/usage'],
  list_objects: ['GET', 'objects'],
  head_object: ['GET', 'objects/head'],
  list_versions: ['GET', 'objects/versions'],
  show_tags: ['GET', 'objects/tags'],
  set_tags: ['PUT', 'objects/tags'],
  restore_object: ['POST', 'objects/restore'],
  count_objects: ['POST', 'objects/count'],
  delete_objects: ['POST', 'objects/delete'],
  list_tasks: ['GET', 'tasks'],
  begin_task: ['POST', 'tasks'],
  show_task: ['GET', 'tasks/{id}'],
  cancel_task: ['POST', 'tasks/{id}/cancel'],
  sign_download: ['POST', 'urls/download'],
  sign_upload: ['POST', 'urls/upload'],
  list_uploads: ['GET', 'uploads'],
  begin_upload: ['POST', 'uploads'],
  sign_parts: ['POST', 'uploads/urls'],
  list_parts: ['GET', 'uploads/parts'],
  complete_upload: ['POST', 'uploads/complete'],
  abort_upload: ['POST', 'uploads/abort'],
  list_credentials: ['GET', 'credentials'],
  issue_credentials: ['POST', 'credentials'],
  show_credentials: ['GET', 'credentials/{id}'],
  revoke_credentials: ['DELETE', 'credentials/{id}'],
  show_key: ['GET', 'key'],
  keep_key: ['PUT', 'key'],
  forget_key: ['DELETE', 'key'],
  list_shares: ['GET', 'shares'],
  create_share: ['POST', 'shares'],
  end_share: ['DELETE', 'shares/{id}'],
  list_links: ['GET', 'links'],
  create_link: ['POST', 'links'],
  end_link: ['DELETE', 'links/{id}'],
  list_audit: ['GET', 'audit']
} as const;
