/** Jest reporter: closes the run with one machine-readable line. */
export default class TallyReporter {
  onRunComplete(_contexts, r) {
    const failed = r.numFailedTests + r.numRuntimeErrorTestSuites;
    const skipped = r.numPendingTests + r.numTodoTests;
    process.once('exit', () => {
      process.stdout.write(`${r.numPassedTests} passed, ${failed} failed, ${skipped} skipped\n`);
    });
  }
}
