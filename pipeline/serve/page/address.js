// The address bar follows what is chosen in a view.

/** A function that replaces the address of the current view, as long as the view is shown. */
export function makeAddressUpdater() {
  const { entry } = history.state;
  /** @param {string} link */
  return (link) => {
    if (history.state?.entry === entry) history.replaceState(history.state, "", link);
  };
}
