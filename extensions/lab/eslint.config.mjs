import reactHooks from 'eslint-plugin-react-hooks';
import tseslint from 'typescript-eslint';

// Which room may import which. What is shown on a page of the gateway too, and what both
// sides are made of, knows no JupyterLab; a feature knows no other but where it is named.
const LAB = {
  group: ['@jupyterlab/*', '@lumino/*', '**/gateway/server', '**/drive/*', '**/sidebar', '**/plugin'],
  message: 'This is shown outside of JupyterLab too.'
};
const not = (...rooms) => ({
  group: rooms.map(room => `**/${room}/**`),
  message: 'Rooms know each other one way only: see eslint.config.mjs.'
});
const ROOMS = [
  [
    ['src/gateway/{refused,send,rest}.ts', 'src/gateway/generated/**'],
    LAB,
    not('kit', 'kernels', 'jobs', 'storage', 'preview', 'pages')
  ],
  [['src/gateway/server.ts'], not('kit', 'kernels', 'jobs', 'storage', 'preview', 'pages')],
  [['src/kit/**'], LAB, not('kernels', 'jobs', 'storage', 'preview', 'pages')],
  [['src/preview/**'], LAB, not('gateway', 'kernels', 'jobs', 'storage', 'pages')],
  [['src/kernels/**'], not('jobs', 'storage', 'preview', 'pages')],
  [['src/jobs/**'], not('storage', 'preview', 'pages')],
  [['src/storage/{plugin.ts,sidebar.tsx,icons.ts}', 'src/storage/drive/**'], not('kernels', 'jobs', 'pages')],
  [['src/storage/*.ts', 'src/storage/{panel,upload}/**'], LAB, not('kernels', 'jobs', 'pages')],
  [['src/pages/**'], LAB, not('kernels', 'jobs')]
];
const IN_LAB = ['src/storage/plugin.ts', 'src/storage/icons.ts'];

export default tseslint.config(
  { ignores: ['lib/', 'landbridge_lab/', 'node_modules/'] },
  {
    files: ['src/**/*.{ts,tsx}'],
    extends: [tseslint.configs.recommendedTypeChecked],
    plugins: { 'react-hooks': reactHooks },
    languageOptions: { parserOptions: { projectService: true } },
    rules: {
      eqeqeq: 'error',
      'prefer-const': ['error', { destructuring: 'all' }],
      'react-hooks/rules-of-hooks': 'error',
      // Functions among a component's properties are no methods.
      '@typescript-eslint/unbound-method': 'off',
      // Answers of servers and parsers are typed where they come in, by hand.
      '@typescript-eslint/no-unsafe-assignment': 'off',
      '@typescript-eslint/no-unsafe-member-access': 'off',
      '@typescript-eslint/no-unsafe-return': 'off',
      '@typescript-eslint/no-base-to-string': 'off',
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_' }],
      '@typescript-eslint/restrict-template-expressions': 'off'
    }
  },
  {
    files: ['**/*.mjs'],
    extends: [tseslint.configs.recommended],
    rules: { '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_' }] }
  },
  ROOMS.map(([files, ...patterns]) => ({
    files,
    ignores: patterns.includes(LAB) ? IN_LAB : [],
    rules: { 'no-restricted-imports': ['error', { patterns }] }
  }))
);
