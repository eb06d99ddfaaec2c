// Tests of all packages in one run. Those that need a browser are a project of their own, because
// not every machine has one.
import { defineConfig } from "vitest/config";

const browserTests = ["test/**/*.browser.test.ts"];

export default defineConfig({
  test: {
    testTimeout: 30_000,
    hookTimeout: 60_000,
    globalSetup: "test/support/global-redis.ts",
    projects: [
      {
        extends: true,
        test: {
          name: "main",
          include: ["{apps,packages,scripts,test}/**/*.test.ts"],
          exclude: ["**/node_modules/**", ...browserTests],
        },
      },
      { extends: true, test: { name: "browser", include: browserTests } },
    ],
  },
});
