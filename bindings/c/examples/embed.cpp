// Writes the embeddings of pictures and of one text as 32-bit floats: embed MODEL OUTPUT TEXT PICTURE...
//
//   c++ -std=c++17 embed.cpp $(pkg-config --cflags --libs ocelli) -o embed
#include <ocelli.h>

#include <cstdio>
#include <fstream>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

void check(OcelliStatus status) {
    if (status != OCELLI_OK) throw std::runtime_error(ocelli_last_error());
}

template <auto Free>
struct Freed {
    template <typename Handle>
    void operator()(Handle *handle) const {
        Free(handle);
    }
};

template <typename Handle, auto Free>
using Owned = std::unique_ptr<Handle, Freed<Free>>;

using Model = Owned<OcelliModel, ocelli_model_free>;
using Runtime = Owned<OcelliRuntime, ocelli_runtime_free>;
using Picture = Owned<OcelliPicture, ocelli_picture_free>;
using ImageEncoder = Owned<OcelliImageEncoder, ocelli_image_encoder_free>;
using TextEncoder = Owned<OcelliTextEncoder, ocelli_text_encoder_free>;

// The handle that `make` writes, owned.
template <typename Owner, typename Make>
Owner made(Make make) {
    typename Owner::pointer handle = nullptr;
    check(make(&handle));
    return Owner(handle);
}

int run(const std::vector<std::string> &arguments) {
    if (arguments.size() < 4) {
        std::fputs("usage: embed MODEL OUTPUT TEXT PICTURE...\n", stderr);
        return 2;
    }
    auto model = made<Model>([&](auto out) { return ocelli_model_open(arguments[0].c_str(), 0, out); });
    auto runtime = made<Runtime>([](auto out) { return ocelli_runtime_new(0, nullptr, out); });
    auto images = made<ImageEncoder>(
        [&](auto out) { return ocelli_image_encoder_new(model.get(), runtime.get(), nullptr, out); });
    auto texts = made<TextEncoder>(
        [&](auto out) { return ocelli_text_encoder_new(model.get(), runtime.get(), out); });

    OcelliModelInfo info;
    check(ocelli_model_info(model.get(), &info));
    std::vector<float> embedding(info.embed_dim);
    std::ofstream output(arguments[1], std::ios::binary);
    auto write = [&] {
        output.write(reinterpret_cast<const char *>(embedding.data()),
                     static_cast<std::streamsize>(embedding.size() * sizeof(float)));
    };
    for (std::size_t i = 3; i < arguments.size(); i++) {
        auto picture =
            made<Picture>([&](auto out) { return ocelli_picture_open(arguments[i].c_str(), out); });
        OcelliImage image;
        check(ocelli_picture_image(picture.get(), &image));
        check(ocelli_image_encoder_embed(images.get(), &image, 1, embedding.data(), embedding.size()));
        write();
    }
    int cut = 0;
    check(ocelli_text_encoder_embed(texts.get(), arguments[2].c_str(), embedding.data(), embedding.size(),
                                    &cut));
    write();
    if (!output.flush()) throw std::runtime_error("cannot write " + arguments[1]);
    return 0;
}

}  // namespace

int main(int argc, char **argv) {
    try {
        return run(std::vector<std::string>(argv + 1, argv + argc));
    } catch (const std::exception &error) {
        std::fprintf(stderr, "%s\n", error.what());
        return 1;
    }
}
