// What `next build` takes for the answers of Google Fonts, so that it asks nobody.
const font = "@font-face { font-family: 'Any'; font-style: normal; font-weight: 400; src: local('sans-serif'); }";
module.exports = new Proxy({}, { get: () => font });
