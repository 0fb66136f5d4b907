// Answers each line of input (JSON: {text}) with a line that says what Microsoft's parser found.
// The first line is the schema: {tables: {name: {column: type}}}. Everything comes back on the
// output as JSON; {failed} is our own trouble, never the query's. It ends when its input closes.
'use strict';
const readline = require('node:readline');
const { join } = require('node:path');

let globals = null;

function load(folder) {
  // Both are scripts for a page, which leave their names on the global object.
  require(join(folder, 'bridge.min.js'));
  require(join(folder, 'Kusto.Language.Bridge.min.js'));
}

function database({ tables }) {
  const { ColumnSymbol, DatabaseSymbol, ScalarTypes, TableSymbol } = Kusto.Language.Symbols;
  const column = ([name, type]) => {
    const symbol = ScalarTypes.GetSymbol(type);
    if (!symbol) throw new Error(`${name} has the type ${type}, which Kusto does not have`);
    return new ColumnSymbol(name, symbol, null, null, null, null);
  };
  const table = ([name, columns]) =>
    new TableSymbol.$ctor4(name, Object.entries(columns).map(column));
  const members = Bridge.toList(Object.entries(tables).map(table));
  // Closed: what is not in the schema does not exist.
  return new DatabaseSymbol.$ctor3('workspace', null, members, false);
}

function diagnostic(text, { Code, Severity, Message, Start, Length }) {
  const lines = text.slice(0, Start).split('\n');
  return {
    severity: Severity,
    code: Code,
    words: Message,
    line: lines.length,
    column: [...lines.at(-1)].length + 1,
    at: text.substr(Start, Length),
  };
}

function token({ Kind, Text }) {
  const kind = System.Enum.getName(Kusto.Language.Syntax.SyntaxKind, Kind);
  const isString = kind === 'StringLiteralToken';
  const value = isString ? Kusto.Language.KustoFacts.GetStringLiteralValue(Text) : null;
  return { kind, text: Text, value };
}

function read({ text }) {
  const code = Kusto.Language.KustoCode.ParseAndAnalyze(text, globals);
  const columns = Bridge.toArray(code.ResultType?.Columns ?? []);
  return {
    diagnostics: Bridge.toArray(code.GetDiagnostics()).map((found) => diagnostic(text, found)),
    tokens: Bridge.toArray(code.GetLexicalTokens()).map(token),
    columns: Object.fromEntries(columns.map(({ Name, Type }) => [Name, Type.Name])),
  };
}

function answer(line) {
  const asked = JSON.parse(line);
  if (globals !== null) return read(asked);
  load(process.argv[2]);
  globals = Kusto.Language.GlobalState.Default.WithDatabase(database(asked));
  return {};
}

readline.createInterface({ input: process.stdin }).on('line', (line) => {
  let said;
  try {
    said = answer(line);
  } catch (error) {
    said = { failed: String(error?.stack ?? error).slice(0, 2000) };
  }
  process.stdout.write(`${JSON.stringify(said)}\n`);
});
