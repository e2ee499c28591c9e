/** A static export: any host will do that sends the two headers of the README. */
export default { output: "export" };
