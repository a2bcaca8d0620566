// Starts `rnndsl lsp` for .rnn files. Needs vscode-languageclient (`npm install` in this folder); highlighting does without.
const vscode = require("vscode");

let client;

exports.activate = async function () {
  let LanguageClient;
  try {
    ({ LanguageClient } = require("vscode-languageclient/node"));
  } catch {
    return;
  }
  const [command, ...args] = vscode.workspace.getConfiguration("rnndsl").get("server");
  client = new LanguageClient("rnndsl", "rnndsl", { command, args }, { documentSelector: [{ language: "rnn" }] });
  await client.start();
};

exports.deactivate = function () {
  return client?.stop();
};
