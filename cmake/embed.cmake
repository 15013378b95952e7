# Run with cmake -P: writes OUT, a C++ source that holds the files of FILES (in WEB) as assay::hud_assets().
set(types_html "text/html; charset=utf-8")
set(types_css "text/css; charset=utf-8")
set(types_js "text/javascript; charset=utf-8")
set(types_svg "image/svg+xml")

set(arrays "")
set(rows "")
set(number 0)
foreach(file ${FILES})
  file(RELATIVE_PATH path "${WEB}" "${file}")
  get_filename_component(extension "${file}" LAST_EXT)
  string(SUBSTRING "${extension}" 1 -1 extension)
  file(READ "${file}" bytes HEX)
  file(SHA256 "${file}" tag)
  string(SUBSTRING "${tag}" 0 16 tag)
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "'\\\\x\\1'," bytes "${bytes}")
  string(APPEND arrays "constexpr char file_${number}[] = {${bytes}'\\0'};\n")
  string(APPEND rows "    {\"${path}\", \"${types_${extension}}\", \"${tag}\", {file_${number}, sizeof(file_${number}) - 1}},\n")
  math(EXPR number "${number} + 1")
endforeach()

file(WRITE "${OUT}.new" "// Made by cmake/embed.cmake from web/.
#include \"assay/hud/assets.h\"

namespace assay {
namespace {
${arrays}
constexpr Asset assets[] = {
${rows}};
}  // namespace

std::span<const Asset> hud_assets() { return assets; }

}  // namespace assay
")
file(RENAME "${OUT}.new" "${OUT}")
