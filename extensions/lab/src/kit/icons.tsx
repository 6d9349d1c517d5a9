const PATHS = {
  bucket: 'M4 6c0-1.7 3.6-3 8-3s8 1.3 8 3-3.600 3-8 3-8-1.300-8-3zm0 0 2 13c.2 1.200 2.800 2 6 2s5.800-.8 6-2l2-13',
  folder: 'M3 7a2 2 0 0 1 2-2h4l2 2h8a2 2 0 0 1 2 2v8a2 2 0 0 1-2 2H5a2 2 0 0 1-2-2z',
  folderUp:
    'M3 7a2 2 0 0 1 2-2h4l2 2h8a2 2 0 0 1 2 2v8a2 2 0 0 1-2 2H5a2 2 0 0 1-2-2zM12 16.500V11m-2.500 2.200L12 10.700l2.500 2.500',
  list: 'M4 5h16v14H4zM4 9.500h16M9 9.500V19',
  homeUp: 'M4 11l8-7 8 7v9H4zM12 17v-6m-2.500 2.500L12 11l2.500 2.500',
  object: 'M6 3h8l4 4v14H6zM14 3v4h4',
  upload: 'M12 16V4m-5 5 5-5 5 5M4 17v3h16v-3',
  download: 'M12 4v12m-5-5 5 5 5-5M4 17v3h16v-3',
  share: 'M16 11a3 3 0 1 0-6 0 3 3 0 0 0 6 0zM7 20c.5-3 3-5 6-5s5.500 2 6 5M5 8v6M2 11h6',
  link: 'M10 14a4 4 0 0 0 6 0l3-3a4 4 0 0 0-6-6l-1 1m2 4a4 4 0 0 0-6 0l-3 3a4 4 0 0 0 6 6l1-1',
  trash: 'M4 7h16M9 7V4h6v3m-8 0 1 13h8l1-13',
  edit: 'M4 20l1-5L16 4l4 4L9 19z',
  copy: 'M9 9h11v11H9zM5 15H4V4h11v1',
  plus: 'M12 5v14M5 12h14',
  reload: 'M20 11a8 8 0 1 0-1 5m1-9v4h-4',
  code: 'M8 8l-4 4 4 4m8-8 4 4-4 4',
  eye: 'M2 12c3-5 6-7 10-7s7 2 10 7c-3 5-6 7-10 7s-7-2-10-7zm7 0a3 3 0 1 0 6 0 3 3 0 0 0-6 0z',
  info: 'M3 12a9 9 0 1 0 18 0 9 9 0 0 0-18 0zM12 11v5.500M12 7.500v.2',
  key: 'M4 16a4 4 0 1 0 8 0 4 4 0 0 0-8 0zM11 13l8-8m-3 3 3 3m-6 0 2 2',
  home: 'M4 11l8-7 8 7v9H4z',
  pause: 'M8 5v14M16 5v14',
  play: 'M7 5l11 7-11 7z',
  close: 'M6 6l12 12M18 6 6 18'
} as const;

export type IconName = keyof typeof PATHS;

export function Icon(props: { name: IconName }): JSX.Element {
  return (
    <svg className="lb-Kit-icon" viewBox="0 0 24 24" aria-hidden="true">
      <path d={PATHS[props.name]} />
    </svg>
  );
}
