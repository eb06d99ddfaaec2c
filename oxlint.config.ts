// Lint rules. The arrows between packages are the table below: who may import whom, and,
// for a forbidden import, where the thing one wants is to be found.
import { defineConfig } from "oxlint";

/** Workspace package -> where to go when the importer may not have it. */
const homes = {
  "@glimpse/contracts": "Schemas are shared through @glimpse/contracts by whoever parses them.",
  "@glimpse/ledger": "Redis belongs to apps: take what you need as an argument from the app.",
  "@glimpse/engine": "The model runs in apps/worker only: send it a job through @glimpse/ledger.",
  "@glimpse/telemetry": "Logs and metrics are the processes' business: return values, or throw.",
  "@glimpse/outbound":
    "The internet is reached by apps/api and apps/courier only: store what others need.",
  "@glimpse/converter": "Conversion is apps/worker's and the command line's business.",
} as const;

/** Library -> the only packages that may know it, and where others go. */
const libraries = {
  koffi: { owners: ["packages/engine"], go: "Native calls live in @glimpse/engine's one binding." },
  "onnxruntime-node": { owners: ["packages/engine"], go: "Inference lives in @glimpse/engine." },
  sharp: { owners: ["packages/engine"], go: "Pixels are decoded in @glimpse/engine only." },
  ioredis: {
    owners: ["packages/ledger", "apps/worker"],
    go: "Keys and Lua live in @glimpse/ledger: open a Ledger.",
  },
  bullmq: {
    owners: ["packages/ledger", "apps/worker", "apps/courier"],
    go: "The queue's front is @glimpse/ledger, its backs apps/worker and apps/courier.",
  },
  "@aws-sdk/client-s3": {
    owners: ["packages/ledger"],
    go: "Pictures are kept by @glimpse/ledger's Blobs, wherever that is.",
  },
  undici: {
    owners: ["packages/outbound"],
    go: "The one way out is @glimpse/outbound, behind its address guard.",
  },
  hono: { owners: ["apps/api"], go: "HTTP is apps/api's; a library takes and returns values." },
} as const;

/** Importer -> the workspace packages it may import (design: arrows). */
const arrows: Record<string, (keyof typeof homes)[]> = {
  "packages/contracts": [],
  "packages/client": ["@glimpse/contracts"],
  "packages/ledger": ["@glimpse/contracts"],
  "packages/engine": [],
  "packages/telemetry": [],
  "packages/outbound": ["@glimpse/contracts"],
  "packages/converter": ["@glimpse/engine"],
  "apps/api": ["@glimpse/contracts", "@glimpse/ledger", "@glimpse/outbound", "@glimpse/telemetry"],
  "apps/courier": [
    "@glimpse/contracts",
    "@glimpse/ledger",
    "@glimpse/outbound",
    "@glimpse/telemetry",
  ],
  "apps/worker": [
    "@glimpse/contracts",
    "@glimpse/converter",
    "@glimpse/engine",
    "@glimpse/ledger",
    "@glimpse/telemetry",
  ],
};

const intoApps = {
  regex: "(^|/)apps/|^@glimpse/(api|courier|worker)(/|$)",
  message: "Nobody imports from apps: move what is shared into a package, or start the process.",
};

/** A relative path that leaves the package, such as ../../ledger/src/keys.ts. */
const sideways = {
  regex: `^(\\.\\./)+((apps|packages)/)?(${Object.keys(arrows)
    .map((folder) => folder.split("/")[1])
    .join("|")})/`,
  message: "Import another package by its name (@glimpse/...), never by a path into its folder.",
};

/** Clients that know no guard. Servers are made of `createServer`. */
const outward = {
  regex: "^(node:)?(https|http2|tls)$",
  message: "The one way out is @glimpse/outbound, behind its address guard.",
};

function arrowRule(folder: string, allowed: string[]) {
  const packages = Object.entries(homes)
    .filter(([name]) => !allowed.includes(name) && name !== `@glimpse/${folder.split("/")[1]}`)
    .map(([name, go]) => ({ regex: `^${name}(/|$)`, message: `${folder} may not know it. ${go}` }));
  const isApp = folder.startsWith("apps/");
  const foreign = Object.entries(libraries)
    .filter(([, { owners }]) => !(owners as readonly string[]).includes(folder))
    .map(([name, { go }]) => ({ regex: `^${name}(/|$)`, message: go }));
  return {
    files: [`${folder}/**/*.ts`],
    rules: {
      "no-restricted-imports": [
        "error",
        { patterns: [intoApps, sideways, ...packages, ...foreign, ...(isApp ? [outward] : [])] },
      ],
      "no-restricted-globals": isApp
        ? ["error", { name: "fetch", message: outward.message }]
        : "off",
    },
  } as const;
}

export default defineConfig({
  // Setting plugins replaces the defaults, so all are listed.
  plugins: ["eslint", "typescript", "unicorn", "oxc", "import", "node", "promise", "vitest"],
  categories: { correctness: "error" },
  env: { es2024: true, node: true },
  rules: {
    eqeqeq: ["error", "always", { null: "ignore" }],
    "import/no-cycle": "error",
    "no-console": "error",
    "no-restricted-imports": ["error", { patterns: [intoApps] }],
    "node/no-process-env": "error",
    "no-unused-vars": ["error", { argsIgnorePattern: "^_" }],
    "prefer-const": "error",
    "typescript/consistent-type-imports": "error",
    "typescript/no-explicit-any": "error",
    "typescript/no-floating-promises": "error",
    "typescript/no-misused-promises": "error",
    "typescript/only-throw-error": "error",
    "typescript/switch-exhaustiveness-check": [
      "error",
      { considerDefaultExhaustiveForUnions: true },
    ],
    "vitest/no-focused-tests": "error",
    // Helpers may expect, loops and conditions too; an expectation may say what it is about.
    "vitest/expect-expect": "off",
    "vitest/no-conditional-expect": "off",
    "vitest/no-standalone-expect": "off",
    "vitest/require-awaited-expect-poll": "off", // Blind to returned ones; floating promises are found anyway.
    "vitest/valid-expect": ["error", { maxArgs: 2 }],
  },
  overrides: [
    ...Object.entries(arrows).map(([folder, allowed]) => arrowRule(folder, allowed)),
    // The environment is read in one place of a process; what is not a service is free to look.
    {
      files: [
        "**/config.ts",
        "scripts/**",
        "bench/**",
        "examples/**",
        "test/**",
        "**/*.test.ts",
        "**/testing-s3.ts",
        "*.config.ts",
      ],
      rules: { "node/no-process-env": "off" },
    },
    // Command lines and tests talk to a terminal; services log through pino.
    {
      files: [
        "scripts/**",
        "bench/**",
        "examples/**",
        "test/**",
        "**/*.test.ts",
        "**/testing-s3.ts",
        "packages/converter/src/{ask,cli}.ts",
        "apps/api/src/keys-cli.ts",
      ],
      rules: { "no-console": "off" },
    },
    // What a test imports is not what the package ships, but other packages' insides stay closed.
    {
      files: ["{apps,packages}/**/*.test.ts"],
      rules: {
        "no-restricted-globals": "off",
        "no-restricted-imports": ["error", { patterns: [sideways] }],
        "require-yield": "off", // A generator that only throws stands in for one that fails.
        "typescript/unbound-method": "off",
      },
    },
    {
      files: ["apps/api/public/**"],
      env: { browser: true, node: false },
      rules: { "node/no-process-env": "off" },
    },
  ],
});
