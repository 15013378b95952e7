# Third-party libraries: Debian's packages, and libllama from a pinned package (scripts/fetch-llama).
find_package(Threads REQUIRED)
find_package(OpenSSL REQUIRED)
find_package(fmt REQUIRED)
find_package(CLI11 REQUIRED)
# toml++ is used header only, without exceptions (Debian's library is built with them): its headers are enough.
find_path(ASSAY_TOML toml++/toml.h REQUIRED)
find_package(SQLite3 REQUIRED)
find_package(Boost 1.81 REQUIRED)
find_package(PkgConfig REQUIRED)
pkg_check_modules(SECCOMP REQUIRED IMPORTED_TARGET libseccomp)
pkg_check_modules(SECP256K1 REQUIRED IMPORTED_TARGET libsecp256k1)
pkg_check_modules(UTF8PROC REQUIRED IMPORTED_TARGET libutf8proc)
add_library(secp256k1 ALIAS PkgConfig::SECP256K1)

add_library(protozero INTERFACE)  # header only
add_library(assay_beast INTERFACE)  # header only: Asio and Beast stay inside net
target_compile_definitions(assay_beast INTERFACE BOOST_ASIO_NO_DEPRECATED)

# libllama with all CPU variants, and its headers. `./x` fetches them; the folder is the cache's, by version and hash. The library is opened
# with the first model (assay/lm/local_engine.cc), not linked: a program that verifies or replays starts without it.
set(ASSAY_LLAMA_DIR "$ENV{ASSAY_LLAMA_DIR}" CACHE PATH "Folder with include/ and lib/ of libllama")
add_library(llama INTERFACE)
if(ASSAY_LLAMA_DIR AND EXISTS "${ASSAY_LLAMA_DIR}/include/llama.h")
  target_include_directories(llama SYSTEM INTERFACE "${ASSAY_LLAMA_DIR}/include")
  target_link_libraries(llama INTERFACE ${CMAKE_DL_LIBS})
  target_compile_definitions(llama INTERFACE ASSAY_LLAMA_LIB_DIR="${ASSAY_LLAMA_DIR}/lib")
else()
  message(FATAL_ERROR "libllama was not found. Run ./x build (it fetches the pinned package), or set ASSAY_LLAMA_DIR to a folder with include/llama.h and lib/.")
endif()

if(ASSAY_TESTS)
  find_package(GTest REQUIRED)
  find_library(RAPIDCHECK_LIB rapidcheck REQUIRED)
endif()
if(ASSAY_BENCH)
  find_package(benchmark REQUIRED)
endif()
