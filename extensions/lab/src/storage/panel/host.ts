/**
 * What the surroundings of the storage panel can do for it.
 *
 * The panel imports nothing of JupyterLab: the gateway's page and JupyterLab give it
 * one of these each. What is absent is not offered.
 */
export interface PanelHost {
  /** Put a cell that reads the object into the notebook in use. */
  insertCode?(bucket: string, key: string): void;
  /** Copy objects, or all under a key that ends in "/", into the home directory. */
  copyToHome?(bucket: string, keys: string[]): void;
  /** Ask for files of the home directory and copy them to a prefix. */
  copyFromHome?(bucket: string, prefix: string): void;
  /** Open a prefix in the file browser. */
  openDrive?(bucket: string, prefix: string): void;
  /** What a drag of these objects carries, by MIME type. */
  dragData?(bucket: string, keys: string[]): Record<string, string>;
  /** The page for the frame in which objects are shown; absent: no previews. */
  previewUrl?: string;
}
