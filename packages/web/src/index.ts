/** The chat page in the browser: its static files, and a server for them. Needs Node. */
export { siteFolder, startWebServer, type WebServer, type WebServerOptions } from "./web-server.ts";
export { writeSite } from "./write-site.ts";
